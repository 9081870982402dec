"""The values y, y', y'' of a model at points, and the errors; gradient norm and Laplacian."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.callbacks.drawing import Values
from keras_smooth.checks import choice, function, shown
from keras_smooth.differentiation import reference_values
from keras_smooth.differentiation.derivative_model import DerivativeModel
from keras_smooth.differentiation.operators import derivatives, directional
from keras_smooth.differentiation.tasks import names
from keras_smooth.models import calls
from keras_smooth.models.tracing import traced
from keras_smooth.presentation.counts import counted


class Quantity(NamedTuple):
    """A quantity that is a function of one derivative.

    Args:
        order: Order of the derivative.
        function: Function of the derivative, whose last axes are `(dim,)` or `(dim, dim)`.
    """

    order: int
    function: Callable

    def of(self, derivative: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns the quantity, `(batch, *outputs)`, from the derivative at the points x."""
        shape = x.shape[1:]
        dim = int(np.prod(shape))
        # If each sample of x is one number, derivatives have no axes of inputs.
        num_axes = self.order * (len(shape) if dim > 1 else 0)
        outputs = derivative.shape[: derivative.ndim - num_axes]
        return self.function(derivative.reshape(*outputs, *[dim] * self.order))


# Not lambdas, since a monitor refers to these functions and must be picklable.
QUANTITIES = {
    "gradient_norm": Quantity(1, functools.partial(np.linalg.norm, axis=-1)),
    "laplacian": Quantity(2, functools.partial(np.trace, axis1=-2, axis2=-1)),
}


def select_quantities(also: Sequence[str], x: Any, order: int) -> dict[str, Quantity]:
    """Returns the quantities with the names `also`.

    Raises:
        TypeError: If `also` is not a list or tuple.
        ValueError: If a name is unknown, a quantity needs a higher order, or x is not one array.
    """
    if not isinstance(also, list | tuple):
        raise TypeError(f"`also` must be a list of names, received {also!r}.")
    for name in also:
        needed = QUANTITIES[choice("`also`", name, QUANTITIES)].order
        if order < needed:
            raise ValueError(
                f"`also`: {name!r} needs order={needed} or more, received order={order}."
            )
    if also and not isinstance(x, np.ndarray):
        raise ValueError(
            "`also` needs x as one array: of several inputs there is more than one gradient."
        )
    return {name: QUANTITIES[name] for name in also}


# Attributes that refer to a model or cannot be pickled. Copies do not have them.
_NOT_COPIED = ("_model", "_evaluate", "_error", "_function")


class Measurement:
    """Compares the derivatives of a model with exact ones.

    Args:
        x: Points, `(batch, ...)`.
        reference: The exact values, as for `DerivativeMonitor`.
        order: The highest order of the derivatives.
        metric: A metric of `(y_true, y_pred)`, as for `DerivativeMonitor`.
        also: Names of further quantities, in `QUANTITIES`.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If the reference does not fit x or the order, or a name is unknown.
    """

    _model: Any = None
    _evaluate: Any = None
    _error: Any = None
    _function: Any = None

    def __init__(
        self, x: Any, reference: Any, order: int, metric: Any, also: Sequence[str]
    ):
        self.x, self.order = reference_values.point_arrays(x), order
        self._metric, name = metric, metric_of(metric).name
        self.metric_name = metric if isinstance(metric, str) else name
        self._quantities = select_quantities(also, self.x, order)
        self.names = [*names(order), *self._quantities]
        exact = reference_values.reference_values(reference, self.x, order)
        self._exact = [keras.tree.flatten(entry) for entry in exact]
        self._output_names = _output_names(exact[0])
        if self._quantities and any(len(leaves) > 1 for leaves in self._exact):
            raise ValueError("`also` needs a reference whose y is one array.")
        if callable(reference):
            self._function = reference

    def __getstate__(self) -> dict[str, Any]:
        return {name: v for name, v in vars(self).items() if name not in _NOT_COPIED}

    def begin(self, model: keras.Model) -> None:
        """Sets the model to measure; of a `DerivativeModel` it is the inner network."""
        metric = metric_of(self._metric)

        def error(true: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
            metric.reset_state()
            metric.update_state(true, value)
            return metric.result()

        if isinstance(model, DerivativeModel):
            model = model.model
        self._model = model
        x, order = self.x, self.order
        self._evaluate = traced(
            lambda: calls.without_side_effects(derivatives, model, x, order)
        )
        # Run eagerly, a metric would take longer than the derivatives.
        self._error = traced(error)

    @property
    def reference(self) -> list[np.ndarray]:
        """The exact y, y', ...; the arrays of a structure are flattened and concatenated."""
        return [_joined(leaves) for leaves in self._exact]

    def values(self) -> list[np.ndarray]:
        """Returns y, y', ... with the present weights, arrays of a structure concatenated."""
        return [_joined(leaves) for leaves in self._model_leaves()]

    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns the exact values and those of the model, for each of `names`."""
        pairs = [
            (_joined(exact), _joined(values)) for exact, values in self._aligned_pairs()
        ]
        for quantity in self._quantities.values():
            true, value = pairs[quantity.order]
            pairs.append((quantity.of(true, self.x), quantity.of(value, self.x)))
        return pairs

    def error(self, true: np.ndarray, value: np.ndarray) -> float:
        """Returns the value of the metric for exact values and those of the model."""
        return float(self._error(tf.constant(true), tf.constant(value)))

    def figure_values(self) -> Values:
        """Returns the values that figures show."""
        if isinstance(self.x, np.ndarray) and self.x.size == len(self.x):
            pairs = [
                (calls.float64_rows(exact), calls.float64_rows(values))
                for exact, values in self._aligned_pairs()
            ]
            return Values(self.x, self.names[: self.order + 1], pairs)
        return Values(self.x, self.names, self.pairs())

    def slice_values(self, x: np.ndarray, direction: np.ndarray) -> list[list[np.ndarray]]:
        """Returns y and its derivatives along a direction: the exact ones, and the model's."""
        if self._function is None or self._model is None:
            raise ValueError(
                "A slice needs exact values between the samples: pass a function as `reference`, "
                "and the monitor to fit. `plot(along=...)` without `at` draws the samples."
            )
        in_float64 = [array.astype("float64") for array in (x, direction)]
        values = []
        sides = (self._function, *in_float64), (self._model, x, direction)
        for function_or_model, *along in sides:
            order = max(self.order, 1)
            entries = calls.without_side_effects(
                directional, function_or_model, *along, order
            )
            values.append([_joined(_flat(entry)) for entry in entries[: self.order + 1]])
        return values

    def _model_leaves(self) -> list[list[np.ndarray]]:
        """Returns for each order the flat list of arrays of the model's derivative."""
        if self._evaluate is None:
            raise ValueError("The monitor has no model yet: pass it to fit as a callback.")
        entries = self._evaluate()
        expected, received = _output_names(entries[0]), self._output_names
        if received is not None and len(received) > 1 and received != expected:
            raise ValueError(
                f"`reference`: y has the names {shown(received)}, but the outputs of the model "
                + (
                    f"are named {shown(expected)}."
                    if expected
                    else "are a list, without names."
                )
                + " Pass exact values in the structure of the outputs."
            )
        return list(map(_flat, entries))

    def _aligned_pairs(self) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
        """Returns for each order the exact values, reshaped as the model's, and the model's."""
        pairs = []
        entries = zip(names(self.order), self._exact, self._model_leaves())
        for name, exact, values in entries:
            if len(exact) != len(values):
                raise ValueError(
                    f"`reference`: {name} has {counted(len(exact), 'array')}, but the model's has "
                    f"{len(values)}. See keras_smooth.derivatives for the structure."
                )
            aligned = [reference_values.aligned(name, *pair) for pair in zip(exact, values)]
            pairs.append((aligned, values))
        return pairs


def _output_names(y: Any) -> list[str] | None:
    """Returns the sorted keys of a dict of outputs, or None for another structure."""
    return sorted(map(str, y)) if isinstance(y, Mapping) else None


def _flat(structure: Any) -> list[np.ndarray]:
    """Returns the arrays of a structure of tensors."""
    return list(map(np.asarray, keras.tree.flatten(structure)))


def _joined(leaves: list[np.ndarray]) -> np.ndarray:
    """Returns a single array as it is, and several arrays flattened and concatenated."""
    if len(leaves) == 1:
        return leaves[0]
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def metric_of(identifier: Any) -> keras.metrics.Metric:
    """Returns the metric of a name, class or function, with dtype float64.

    An instance is returned as it is.

    Raises:
        TypeError: If the identifier is not a metric, and not the name or function of one.
        ValueError: If Keras has no metric of this name.
    """
    if isinstance(identifier, keras.metrics.Metric):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, keras.metrics.Metric):
        return identifier(dtype="float64")
    metric = identifier
    if isinstance(identifier, str):
        try:
            metric = keras.metrics.get(identifier)
        except ValueError:
            raise ValueError(
                f"`metric`: Keras has no metric named {identifier!r}. Use a metric such as 'mse' "
                "or 'mae'."
            ) from None
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config({**metric.get_config(), "dtype": "float64"})
    function("`metric`, if it is no metric of Keras,", metric, "y_true", "y_pred")
    name = getattr(metric, "__name__", type(metric).__name__)

    def in_float64(y_true: Any, y_pred: Any) -> Any:
        # Both need the same dtype, since the function may subtract them.
        return metric(keras.ops.cast(y_true, "float64"), keras.ops.cast(y_pred, "float64"))

    return keras.metrics.MeanMetricWrapper(in_float64, name=name, dtype="float64")
