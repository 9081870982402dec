"""smoothen: the same architecture and weights, in smooth layers."""

import dataclasses
import warnings
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import activations, layers, registry
from keras_smooth.checks import finite_number, whole_number
from keras_smooth.models import calls, copies, graph, sample_inputs, state
from keras_smooth.smoothing.stand_ins import smooth_elu, smooth_ramps, smooth_softsign

_SELU = {"alpha": 1.6732632423543772, "scale": 1.0507009873554805}
_FIXED: dict[str, tuple[Callable, dict]] = {
    "relu": (smooth_ramps, {"knots": (0.0,), "weights": (1.0,)}),
    "relu6": (smooth_ramps, {"knots": (0.0, 6.0), "weights": (1.0, -1.0)}),
    "leaky_relu": (smooth_ramps, {"knots": (0.0,), "weights": (0.8,), "slope": 0.2}),
    "hard_sigmoid": (smooth_ramps, {"knots": (-3.0, 3.0), "weights": (1 / 6, -1 / 6)}),
    "hard_tanh": (
        smooth_ramps, {"knots": (-1.0, 1.0), "weights": (1.0, -1.0), "offset": -1.0}
    ),
    "soft_shrink": (
        smooth_ramps,
        {"knots": (-0.5, 0.5), "weights": (-1.0, 1.0), "slope": 1.0, "offset": 0.5},
    ),
    "sparse_sigmoid": (smooth_ramps, {"knots": (-1.0, 1.0), "weights": (0.5, -0.5)}),
    "elu": (smooth_elu, {}),
    "celu": (smooth_elu, {}),
    "selu": (smooth_elu, _SELU),
    "softsign": (smooth_softsign, {}),
}  # fmt: skip
# Smooth functions of the same shape, which have no sharpness.
_ALIKE = {"hard_silu": "silu", "sparse_plus": "softplus", "sparsemax": "softmax",
          "smelu": "softplus"}  # fmt: skip
# With one derivative, these are rough for nobody, but wrong in Keras.
_REPAIRED = {
    keras.activations.celu: activations.celu,
    keras.activations.softsign: activations.softsign,
}
_INNER = ("layer", "backward_layer")


@dataclasses.dataclass(frozen=True)
class OutputChange:
    """How far the outputs of two models are apart.

    Args:
        largest: The largest absolute difference.
        relative: The same, divided by the largest absolute output of the first.
    """

    largest: float
    relative: float

    def __str__(self) -> str:
        return (
            f"Outputs moved by {self.largest:.1e} at most ({self.relative:.1e} relative)."
        )


def output_change(before: Callable, after: Callable, x: Any) -> OutputChange:
    """Returns how far the outputs of two models differ on the same inputs.

    Args:
        before: A model or layer.
        after: Another one.
        x: Inputs of both.

    Returns:
        An `OutputChange`.

    Example:

    >>> import numpy as np, keras_smooth
    >>> keras_smooth.output_change(np.sin, np.cos, np.zeros(1)).largest
    1.0
    """
    return _change(before(x), after(x))


def _change(before: Any, after: Any) -> OutputChange:
    pairs = zip(keras.tree.flatten(before), keras.tree.flatten(after), strict=True)
    arrays = [[np.asarray(tf.cast(part, tf.float64)) for part in pair] for pair in pairs]
    largest = max(float(np.abs(a - b).max(initial=0.0)) for a, b in arrays)
    scale = max(float(np.abs(a).max(initial=0.0)) for a, _ in arrays)
    return OutputChange(largest, largest / scale if scale else largest)


def smoothen(
    model: keras.Model,
    x: Any = None,
    *,
    order: int = 2,
    sharpness: float = 10.0,
    replacements: Mapping[str | Callable | type, str | Callable | type] | None = None,
) -> keras.Model:
    """Returns a model of the same architecture and weights with smooth, exact layers.

    Activations, maxima and minima less smooth than `order` are replaced by smooth ones of
    nearly the same values, and layers whose derivatives Keras gets wrong by exact ones of
    this package. All else stays: the same functions, and all state. Before anything is
    replaced, a copy of the model is compared with it.

    Args:
        model: A built Sequential or Functional model; it stays as it is.
        x: Inputs on which the copy is compared, and the outputs before and after
            replacing. The first few samples are used. None draws them at random.
        order: How many derivatives with respect to the inputs will be taken.
        sharpness: How sharp the bends of the smooth activations are. They move outputs
            by about log(2) / sharpness and have second derivatives of sharpness / 4. The
            maximum of n values moves by log(n) / sharpness at most.
        replacements: What to put in the place of what, before the table of this package:
            activations, by name or as functions; and classes of layers, with a class that
            takes the same config, or a function from the old layer to the new one.

    Returns:
        The new model, compiled as the old one was, with a fresh optimizer. Its attribute
        `output_change` says how far the outputs moved on the samples; for other inputs
        call `keras_smooth.output_change(model, new_model, x)`.

    Raises:
        TypeError: If the model is neither Sequential nor Functional, or has its own
            `call`, or `order` is no integer.
        ValueError: If it is not built, `order` is negative, `sharpness` is not positive and
            finite, there is no smooth replacement of an activation, or Keras cannot copy a
            layer from its config.

    Example:

    >>> import keras, keras_smooth
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(8, "relu")])
    >>> keras_smooth.smoothness(model), keras_smooth.smoothness(keras_smooth.smoothen(model))
    (0, inf)
    """
    if not graph.is_graph(model):
        raise TypeError(
            "smoothen expects a Sequential or Functional model without a `call` of its own, "
            f"received {type(model).__name__}. Use keras_smooth's layers in its code instead."
        )
    if not model.built:
        raise ValueError("smoothen expects a model that is built. Call it on data first.")
    order = whole_number("`order`", order, 0)
    sharpness = finite_number("`sharpness`", sharpness, 0.0, above=True)
    with calls.preserved_random_state():
        model, args = sample_inputs.prepared(model, x, copies.fresh_copy)
    _check_copy(model, args)
    smooth = _Converter(order, sharpness, replacements or {}).model(model)
    copies.build(smooth, args, {})
    state.copy_state(model, smooth)
    _warn_rough(smooth, order)
    smooth.output_change = _change(
        calls.call_without_trace(model, *args), calls.call_without_trace(smooth, *args)
    )
    return smooth


def _check_copy(model: keras.Model, args: tuple) -> None:
    """Raises if a copy of the model in which nothing is replaced is not the model."""
    call = calls.Call(args, {}, calls.call_without_trace(model, *args))
    copy = copies.fresh_copy(model)
    copies.build(copy, args, {})
    copies.fill_and_compare(model, copy, None, call)


def _warn_rough(model: keras.Model, order: int) -> None:
    rough = [
        f"{path} ({type(part).__name__}, C^{k})"
        for path, part in graph.unique(model)
        if isinstance(part, keras.layers.Layer)
        and (k := registry.smoothness(part)) is not None
        and k < order
    ]
    if rough:
        warnings.warn(
            f"These layers have no smooth replacement and stay: {', '.join(rough)}.",
            stacklevel=3,
        )


class _Converter:
    """Converts the parts of one model.

    Args:
        order: Number of derivatives.
        sharpness: Of the smooth activations.
        replacements: The caller's own, of activations and of classes of layers.
    """

    def __init__(self, order: int, sharpness: float, replacements: Mapping) -> None:
        self.order = order
        self.sharpness = sharpness
        self.own_layers = {k: v for k, v in replacements.items() if isinstance(k, type)}
        self.replacements = {
            activations.get(old): activations.get(new)
            for old, new in replacements.items()
            if old not in self.own_layers
        }

    def model(self, model: keras.Model) -> keras.Model:
        return copies.clone(model, None, self.part)

    def part(self, part: keras.Operation) -> keras.Operation:
        if graph.is_graph(part):
            return self.model(part)
        if type(part) in self.own_layers:
            return _own(self.own_layers[type(part)], part)
        if rule := _LAYER_RULES.get(type(part)):
            return rule(part, self)

        def change(config: Any, references: Any) -> Any:
            return {**config, **self._inner(part, config, references)}

        kind = layers.exact_form(type(part))
        return copies.from_config(part, change, self.substitute, kind)

    def _inner(self, part: keras.Operation, config: dict, references: Any) -> dict:
        """Returns what takes the place of the layers in a wrapper's config."""
        changed = {}
        for key in _INNER:
            # A wrapper builds its backward layer itself unless the config has one.
            forward = hasattr(part, "forward_layer") and key == "layer"
            inner = getattr(part, "forward_layer" if forward else key, None)
            if key in config and isinstance(inner, keras.layers.Layer):
                changed[key] = references.config(self.part(inner))
        return changed

    def substitute(self, value: Any) -> Any:
        """Returns what takes the place of a function or of a layer used as activation."""
        if isinstance(value, keras.Operation):
            return self.part(value)
        return self.activation(value) if isinstance(value, Hashable) else value

    def activation(self, function: Any) -> Callable:
        """Returns the function itself if it is smooth enough, else its replacement.

        Raises:
            ValueError: If there is none.
        """
        if function in self.replacements:
            return self.replacements[function]
        smoothness = registry.smoothness(function)
        if smoothness is None or smoothness >= self.order:
            return _REPAIRED.get(function, function)
        name = getattr(function, "__name__", "")
        if name in _ALIKE:
            return activations.get(_ALIKE[name])
        if name not in _FIXED:
            raise ValueError(
                f"There is no smooth replacement of activation {name!r}, which is of class "
                f"C^{smoothness}. Give one: replacements={{{name!r}: 'tanh'}}."
            )
        return self.pieces(*_FIXED[name])

    def pieces(self, function: Callable, parameters: dict) -> Callable:
        return activations.partial(function, **parameters, sharpness=self.sharpness)

    def layer(self, old: keras.layers.Layer, function: Callable) -> keras.layers.Layer:
        return layers.Activation(
            function, order=self.order, name=old.name, dtype=old.dtype_policy
        )


def _own(replacement: Any, part: keras.Operation) -> keras.Operation:
    if isinstance(replacement, type):
        return replacement.from_config(part.get_config())  # type: ignore[attr-defined]
    return replacement(part)


def _relu(layer: keras.layers.ReLU, converter: _Converter) -> keras.layers.Layer:
    knots, weights = [layer.threshold], [1.0 - layer.negative_slope]
    if layer.threshold:
        raise ValueError(
            f"{layer.name} jumps at its threshold: it has no smooth replacement."
        )
    if layer.max_value is not None:
        knots, weights = [*knots, float(layer.max_value)], [*weights, -1.0]
    parameters = {
        "knots": tuple(knots), "weights": tuple(weights), "slope": float(layer.negative_slope)
    }  # fmt: skip
    return converter.layer(layer, converter.pieces(smooth_ramps, parameters))


def _leaky_relu(layer: keras.layers.LeakyReLU, converter: _Converter) -> keras.layers.Layer:
    slope = float(layer.negative_slope)
    parameters = {"knots": (0.0,), "weights": (1.0 - slope,), "slope": slope}
    return converter.layer(layer, converter.pieces(smooth_ramps, parameters))


def _elu(layer: keras.layers.ELU, converter: _Converter) -> keras.layers.Layer:
    if registry.smoothness(layer) >= converter.order:
        return keras.layers.ELU.from_config(layer.get_config())
    function = converter.pieces(smooth_elu, {"alpha": float(layer.alpha)})
    return converter.layer(layer, function)


def _stand_in(layer: keras.layers.Layer, converter: _Converter) -> keras.layers.Layer:
    config = {**layer.get_config(), "sharpness": converter.sharpness}
    return layers.SMOOTH_FORMS[type(layer)].from_config(config)


_LAYER_RULES = {
    keras.layers.ReLU: _relu,
    keras.layers.LeakyReLU: _leaky_relu,
    keras.layers.ELU: _elu,
    **dict.fromkeys(layers.SMOOTH_FORMS, _stand_in),
}
