"""DerivativeMonitor: the errors of y, y', y'' during fit."""

import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import whole_number
from keras_smooth.differentiation.operators import derivatives, names


class DerivativeMonitor(keras.callbacks.Callback):
    """Shows the errors of y, y' and y'' while a model trains.

    After every `every` epochs the derivatives of the model at `x` are computed with
    nested GradientTapes inside a `tf.function` and compared with a reference. The errors
    go into `logs` under `y_mse`, `dy_mse`, `d2y_mse`, so that the progress bar, History
    and every callback further back in the list see them. In the epochs between, `logs`
    holds the last measured values.

    Args:
        x: Points, floats of shape `(batch, ...)`, as `keras_smooth.derivatives` takes
            them.
        reference: The exact values: a tuple of `order + 1` arrays (y, y', y'') of the
            shapes that `keras_smooth.derivatives` returns; or a function of tensors,
            whose derivatives are taken with nested tapes in float64.
        order: Number of derivatives to compare, 0 or more.
        metric: `"mse"`, `"mae"`, or the name, class or an instance of any Keras metric
            that takes `(y_true, y_pred)`. Its name ends the keys in `logs`. To watch an
            error with EarlyStopping, give that `mode="min"`.
        every: Number of epochs between two measurements; the first epoch is measured.
        prefix: What the keys begin with, to tell several monitors apart.

    Raises:
        TypeError: If `order` or `every` is not an integer.
        ValueError: If the reference does not fit x, or one of the two is too small.

    Example:

    >>> import keras, keras_smooth, numpy as np
    >>> from keras import ops
    >>> model = keras.Sequential([keras.Input((1,)), keras_smooth.Dense(1, "tanh")])
    >>> model.compile(loss="mse")
    >>> x = np.linspace(-2.0, 2.0, 11)[:, None]
    >>> monitor = keras_smooth.DerivativeMonitor(x, lambda x: ops.exp(-(x**2)))
    >>> history = model.fit(x, np.exp(-(x**2)), verbose=0, callbacks=[monitor])
    >>> sorted(history.history)
    ['d2y_mse', 'dy_mse', 'loss', 'y_mse']
    """

    def __init__(
        self,
        x,
        reference: Callable | tuple,
        order: int = 2,
        metric: str | type | keras.metrics.Metric = "mse",
        every: int = 1,
        prefix: str = "",
    ):
        super().__init__()
        every = whole_number("`every`", every, 1)
        order = whole_number("`order`", order, 0)
        self.x = keras.tree.map_structure(np.asarray, x)
        self.order = order
        self.metric = _metric(metric)
        self.every = every
        short = metric if isinstance(metric, str) else self.metric.name
        self.keys = [f"{prefix}{name}_{short}" for name in names(order)]
        self.reference = _reference(reference, self.x, order)
        self.history = {"epoch": np.array([], int)} | {
            key: np.array([]) for key in self.keys
        }
        self._evaluate = None
        self._warned = False
        self._last = {}

    def on_train_begin(self, logs=None):
        model = self.model
        self._evaluate = tf.function(
            lambda: derivatives(model, self.x, self.order), autograph=False
        )
        self._last = {}

    def on_epoch_end(self, epoch, logs=None):
        if not self._last or epoch % self.every == 0:
            self._last = self.measure()
            self._record(epoch)
        if logs is not None:
            logs.update(self._last)

    def measure(self) -> dict[str, float]:
        """Returns the errors of the model as it is now, by key."""
        values = self.values()
        self._warn_if_zero(values)
        triples = zip(self.keys, self.reference, values, strict=True)
        return {key: self._error(*triple) for key, *triple in triples}

    def values(self) -> list[np.ndarray]:
        """Returns y, y', ... of the model at x, as it is now.

        Each is an array; the tensors of a structure are laid end to end.
        """
        if self._evaluate is None:
            raise ValueError("The monitor has no model yet: pass it to fit as a callback.")
        return [_array(value) for value in self._evaluate()]

    def plot(self):
        """Draws the errors over the epochs; for one input also the curves.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ValueError: If nothing was measured yet.
        """
        from keras_smooth import figures

        if not self._last:
            raise ValueError("Nothing was measured yet: pass the monitor to fit.")
        errors = {key: self.history[key] for key in self.keys}
        if not (isinstance(self.x, np.ndarray) and self.x.size == len(self.x)):
            figure = figures.new(6, 4)
            figures.errors(figure, self.history["epoch"], errors)
            return figure
        figure = figures.new(4 * (self.order + 1), 7)
        above, below = figure.subfigures(2, 1)
        figures.errors(above, self.history["epoch"], errors)
        order = np.argsort(self.x, axis=None)
        exact, values = (
            [np.ravel(entry)[order] for entry in entries]
            for entries in (self.reference, self.values())
        )
        figures.curves(below, np.ravel(self.x)[order], exact, values, "network")
        return figure

    def _error(self, true: np.ndarray, value: np.ndarray) -> float:
        true = _fitting(true, value)
        self.metric.reset_state()
        self.metric.update_state(true, value)
        return float(self.metric.result())

    def _record(self, epoch: int) -> None:
        for key, value in {"epoch": epoch, **self._last}.items():
            self.history[key] = np.append(self.history[key], value)

    def _warn_if_zero(self, values: list[np.ndarray]) -> None:
        zero = [k for k in range(1, self.order + 1) if not np.any(values[k])]
        if zero and not self._warned:
            self._warned = True
            warnings.warn(
                f"The derivative of order {zero[0]} is 0 at every point: an activation "
                "such as ReLU has none to give. keras_smooth.smoothness(model) tells the "
                "class of the model.",
                stacklevel=3,
            )


def _metric(identifier) -> keras.metrics.Metric:
    """Returns the metric; one that is made here computes in float64."""
    if isinstance(identifier, keras.metrics.Metric):
        return identifier
    if isinstance(identifier, type):
        return identifier(dtype="float64")
    metric = keras.metrics.get(identifier)
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config({**metric.get_config(), "dtype": "float64"})
    return keras.metrics.MeanMetricWrapper(metric, name=metric.__name__, dtype="float64")


def _reference(reference, x, order: int) -> list[np.ndarray]:
    if callable(reference):
        x = keras.tree.map_structure(lambda part: part.astype("float64"), x)
        reference = derivatives(reference, x, order)
    if len(reference) != order + 1:
        raise ValueError(
            f"order={order} needs {order + 1} exact arrays ({', '.join(names(order))}), "
            f"received {len(reference)}."
        )
    return [_array(entry) for entry in reference]


def _array(entry) -> np.ndarray:
    if hasattr(entry, "shape"):
        return np.asarray(entry)
    return np.concatenate([np.ravel(part) for part in keras.tree.flatten(entry)])


def _fitting(true: np.ndarray, value: np.ndarray) -> np.ndarray:
    # (batch,) against (batch, 1) would broadcast to (batch, batch) without a word.
    if true.size != value.size:
        raise ValueError(
            f"The reference has shape {true.shape}, but the model's value has shape "
            f"{value.shape}. See keras_smooth.derivatives for the shapes."
        )
    return true.reshape(value.shape)
