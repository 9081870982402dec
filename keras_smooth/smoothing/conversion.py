"""smoothen: the same architecture and weights, in smooth and exact layers."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import keras

from keras_smooth import activations, layers, registry
from keras_smooth.checks import finite_number, refused, shown, whole_number
from keras_smooth.models import calls, copies, graph, references
from keras_smooth.models.sample_inputs import prepared
from keras_smooth.models.state import copy_state
from keras_smooth.models.tracing import eager_only
from keras_smooth.presentation.warn import warn
from keras_smooth.smoothing import smooth_forms
from keras_smooth.smoothing.lambda_form import LambdaForm
from keras_smooth.smoothing.output_change import change
from keras_smooth.smoothing.smooth_operation import FORMS, SmoothOperation


@eager_only
def smoothen(
    model: keras.Model,
    x: Any = None,
    *,
    order: int = 2,
    sharpness: float = 10.0,
    replacements: Mapping[str | Callable | type, str | Callable | type] | None = None,
) -> keras.Model:
    """Returns a model of the same architecture and weights with smooth, exact layers.

    Activations, maxima and minima less smooth than `order` are replaced by smooth ones with
    nearly the same values. They may be layers, operations of keras.ops in a graph, or
    elementwise piecewise linear functions, such as lambdas of `tf.nn.relu`. Layers whose
    derivatives are wrong in Keras are replaced by exact layers of this package. All other
    functions, and all state, stay the same. Before layers are replaced, a copy of the model is
    compared with it. A warning lists the layers and operations that are less smooth than
    `order` and have no replacement.

    The new model is smooth for all inputs. So a layer with a kink is replaced even if no
    sample of x is near the kink and `audit(model, x)` finds no fault.

    Args:
        model: A built Sequential or Functional model. It is not changed.
        x: Inputs at which the copy and the new model are compared with the model. The first
            few samples are used. With None, samples are drawn at random.
        order: The highest order of the derivatives that the model must have.
        sharpness: Sharpness of the smooth replacements. A smooth ReLU differs from ReLU by
            log(2) / sharpness at most, and its second derivative is sharpness / 4 at most. A
            smooth maximum of n values differs by log(n) / sharpness at most. It does not apply
            to hard_silu, sparse_plus, SmeLU and sparsemax, which become silu, softplus,
            softplus and softmax: outputs of sparsemax may change by 0.7.
        replacements: A dict of replacements, used before the table of this package:
            activations, by name or as functions; and classes of layers, with a class that
            accepts the same config, or a function from the old layer to the new one.

    Returns:
        The new model, compiled as the model was, with the same loss and a new optimizer; or
        not compiled, with a warning, if Keras cannot copy a metric. Its attribute
        `output_change` is the `OutputChange` on the samples; for other inputs call
        `keras_smooth.output_change(model, new_model, x)`.

    Raises:
        TypeError: If the model is neither Sequential nor Functional, or has its own
            `call`, or `order` is not an integer.
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
            f"received `model` {shown(model)}. Use keras_smooth's layers in its code instead."
        )
    if not model.built:
        raise ValueError(
            f"`model`: {model.name!r} is not built. Call it on data first, or give it an Input."
        )
    order = whole_number("`order`", order, 0)
    sharpness = finite_number("`sharpness`", sharpness, 0.0, above=True)
    replacements = _checked_replacements(replacements)
    # New layers draw random seeds for their initial weights.
    with calls.preserved_random_state():
        model, args = prepared(model, x, copies.fresh_copy)
        outputs = calls.call_without_side_effects(model, *args)
        # A copy without replacements must have the same outputs.
        copy = copies.fresh_copy(model)
        copies.build(copy, args, {})
        copies.fill_and_compare(model, copy, None, calls.Call(args, {}, outputs))
        layer_replacements = _Replacements(order, sharpness, replacements)
        smooth = layer_replacements.of_layer(model)
        copies.build(smooth, args, {})
        copy_state(model, smooth)
    _compile_like(model, smooth)
    layer_replacements.warn_rough(smooth)
    layer_replacements.warn_of_configs()
    new_outputs = calls.call_without_side_effects(smooth, *args)
    smooth.output_change = change(outputs, new_outputs)
    return smooth


def _checked_replacements(replacements: Any) -> Mapping:
    """Returns the argument `replacements` of `smoothen`, after checking it."""
    if replacements is None:
        return {}
    expected = "a dict of names, functions or classes, such as {'relu': 'tanh'}"
    if not isinstance(replacements, Mapping):
        raise TypeError(refused("`replacements`", expected, replacements))
    for entry in (*replacements, *replacements.values()):
        if not isinstance(entry, str) and not callable(entry):
            raise TypeError(refused("`replacements`", expected, entry))
    return replacements


def _compile_like(model: keras.Model, smooth: keras.Model) -> None:
    """Compiles the new model as the old one is, with a new optimizer and the same loss."""
    if not model.compiled:
        return
    try:
        # Not the config of the loss, which lacks the delta of a Huber loss, for example.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = {**model.get_compile_config(), "loss": None}
        arguments = keras.saving.deserialize_keras_object(config)
    # Keras finds a function by its name only if it is registered.
    except Exception as error:
        warn(
            "The new model is not compiled, since Keras cannot copy how "
            f"{model.name!r} is compiled ({copies.brief(error)}). Compile it before fit."
        )
    else:
        smooth.compile(**{**arguments, "loss": model.loss})


class _Replacements:
    """The replacements of the layers of one model, and of their activations.

    Args:
        order: The highest order of the derivatives that the model must have.
        sharpness: Sharpness of the smooth activations.
        replacements: The user's replacements of activations and of classes of layers.
    """

    def __init__(self, order: int, sharpness: float, replacements: Mapping) -> None:
        self.order = order
        self.sharpness = sharpness
        self.by_id: dict[int, Any] = {}
        # The symbolic arguments of the calls in graphs, by the id of the layer that is called.
        self.arguments: dict[int, tuple[tuple, dict]] = {}
        # Layers whose configs do not contain their activations.
        self.not_in_configs: list[str] = []
        self.for_layers = {k: v for k, v in replacements.items() if isinstance(k, type)}
        others = {k: v for k, v in replacements.items() if k not in self.for_layers}
        self.for_functions = {
            _as_activation(k): _as_activation(v) for k, v in others.items()
        }

    def of_layer(self, layer: keras.Operation) -> Any:
        """Returns the replacement of a layer, which is created once and then reused."""
        if id(layer) not in self.by_id:
            self.by_id[id(layer)] = self._new_replacement(layer)
        return self.by_id[id(layer)]

    def _new_replacement(self, layer: keras.Operation) -> Any:
        if graph.is_graph(layer):
            return copies.rebuilt_graph(
                layer, self.of_layer, self.by_id, call=self._record_call
            )
        if type(layer) in self.for_layers:
            own = self.for_layers[type(layer)]
            is_class = isinstance(own, type)
            return own.from_config(layer.get_config()) if is_class else own(layer)
        return self.smooth_form(layer) or self._copy(layer)

    def _record_call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        self.arguments[id(layer)] = args, kwargs
        return copies.call_layer(layer, *args, **kwargs)

    def warn_rough(self, smooth: keras.Model) -> None:
        """Warns if layers or operations of the smooth model are less smooth than the order."""
        # Layers are examined only if the model is not smooth enough.
        k = registry.smoothness(smooth)
        if k is not None and k >= self.order:
            return
        if not_smooth := list(self._not_smooth_layers(smooth)):
            warn(
                f"These parts have no smooth replacement and stay: {', '.join(not_smooth)}."
            )

    def warn_of_configs(self) -> None:
        """Warns of layers that lose their smooth activations in a file."""
        if self.not_in_configs:
            warn(
                "The configs of these layers do not have their activations: "
                f"{', '.join(self.not_in_configs)}. "
                "If the smooth model is saved and loaded, they have the old ones again. Return the "
                "activation itself in get_config, as "
                "keras.activations.serialize(layer.activation); or load the old model, call "
                "smoothen, and then load_weights of the smooth one."
            )

    def _not_smooth_layers(self, smooth: keras.Model) -> Iterator[str]:
        """Yields the new layers and operations that are less smooth than the order."""
        # Layers in a nested model with its own `call` are not in `by_id`.
        new_layers = set(map(id, self.by_id.values()))
        for path, layer in graph.unique(smooth):
            if id(layer) not in new_layers:
                continue
            args, kwargs = self.arguments.get(id(layer), ((), {}))
            reading = registry.reading_of_layer(layer, args, kwargs)
            k = reading.smoothness
            if k is not None and k < self.order:
                kinds = "".join(f", {kind}" for kind in reading.rough(self.order))
                yield f"{path} ({type(layer).__name__}, C^{k}{kinds})"

    def smooth_form(self, layer: keras.Operation) -> Callable | None:
        """Returns the replacement of a layer that is less smooth than the order, else None."""
        if not isinstance(layer, keras.layers.Layer):
            return self._smooth_operation(layer)
        k = registry.smoothness(layer)
        if type(layer) in layers.SMOOTH_FORMS and (k is None or k < self.order):
            config = {**layer.get_config(), "sharpness": self.sharpness}
            return layers.SMOOTH_FORMS[type(layer)].from_config(config)
        function = _as_function(layer)
        if function is None:
            return None
        smooth = self.of_function(function)
        if smooth is function:
            return None
        kind = LambdaForm if type(layer) is keras.layers.Lambda else layers.Activation
        return kind(smooth, order=self.order, name=layer.name, dtype=layer.dtype_policy)

    def _smooth_operation(self, operation: keras.Operation) -> Callable | None:
        """Returns the smooth form of an operation, a function of its tensors, or None."""
        smoothness = registry.smoothness(operation)
        subject = registry.function_of(operation)
        if smoothness is None or smoothness >= self.order or subject is None:
            return None
        settings = registry.settings(operation, subject)
        kind, name = subject.__name__, operation.name
        if kind in FORMS:
            return SmoothOperation(kind, self.sharpness, settings, name)
        if form := smooth_forms.POOLING_FORMS.get(kind):
            return functools.partial(form, self.sharpness, name=name, **settings)
        smooth = None
        # The operation may be a function of several tensors.
        with contextlib.suppress(TypeError):
            smooth = self._replacement(activations.partial(subject, **settings))
        if smooth is None:
            return None
        activation = functools.partial(
            layers.Activation, smooth, order=self.order, name=name
        )
        return lambda x: activation(dtype=x.dtype)(x)

    def _copy(self, layer: keras.Operation) -> keras.Operation:
        def changed(config: Any, references: Any) -> Any:
            is_own = not calls.is_determined_by_config(type(layer))
            if is_own and references.lacks_substitutes(config):
                self.not_in_configs.append(f"{layer.name} ({type(layer).__name__})")
            return copies.with_wrapped_layers(layer, config, references, self.of_layer)

        kind = layers.exact_form(type(layer))
        return copies.from_config(layer, changed, self.substitute, kind)

    def substitute(self, value: Any) -> Any:
        """Returns the replacement of a function, or of a layer that is used as an activation."""
        if isinstance(value, keras.Operation):
            return self.of_layer(value)
        return self.of_function(value) if isinstance(value, Hashable) else value

    def of_function(self, function: Any) -> Callable:
        """Returns the replacement of a function; if it is smooth enough, its exact form or itself.

        Raises:
            ValueError: If it is a known activation, not smooth enough and without replacement.
        """
        smoothness = registry.smoothness(function)
        if smoothness is not None and smoothness >= self.order:
            return self._given(function) or activations.exact_form(function)
        smooth = self._replacement(function)
        if smooth is None and registry.registered_smoothness(function) is not None:
            name = getattr(registry.activation_of(function), "__name__", "")
            raise ValueError(
                f"There is no smooth replacement of activation {name!r}, which "
                f"{'jumps' if smoothness == -1 else f'is of class C^{smoothness}'}. Give one: "
                f"replacements={{{name!r}: 'tanh'}}."
            )
        return smooth or function

    def _replacement(self, function: Any) -> Callable | None:
        """Returns the replacement of a function that is not smooth enough, or of unknown class."""
        return self._given(function) or smooth_forms.of_function(function, self.sharpness)

    def _given(self, function: Any) -> Callable | None:
        """Returns the user's replacement of a function, or of the activation it is an alias of."""
        return self.for_functions.get(
            function, self.for_functions.get(registry.activation_of(function))
        )


def is_replaced(layer: keras.Operation, order: int) -> bool:
    """Returns whether smoothen replaces a layer, or an activation in it."""
    replacements = _Replacements(order, 1.0, {})
    held = references.functions(layer, "activation")
    try:
        if replacements.smooth_form(layer) is not None:
            return True
        return any(replacements.of_function(function) is not function for function in held)
    # An activation has no replacement.
    except ValueError:
        return False


def _as_activation(identifier: Any) -> Callable:
    try:
        return activations.get(identifier)
    except ValueError as error:
        raise ValueError(f"`replacements`: {error}") from None


def _as_function(layer: keras.layers.Layer) -> Callable | None:
    """Returns the function that a layer applies, or None if the layer does more."""
    if type(layer) is keras.layers.Lambda:
        return functools.partial(layer.function, **layer.arguments or {})
    if function := registry.as_activation(layer):
        return activations.partial(function.func, **function.keywords)
    return None
