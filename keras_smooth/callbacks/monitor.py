"""`DerivativeMonitor`, a callback that computes the errors of y, y', y'' during a fit."""

import copy
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_smooth.callbacks import displays, drawing
from keras_smooth.callbacks.fits import Fits
from keras_smooth.callbacks.measurement import Measurement
from keras_smooth.checks import text, whole_number
from keras_smooth.models.own_call import is_built
from keras_smooth.presentation import figures
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.tables import ShownAsTable, Table
from keras_smooth.presentation.warn import warn_once


class DerivativeMonitor(ShownAsTable, keras.callbacks.Callback):
    """Callback that computes the errors of y, y' and y'' while a model is trained.

    After the first epoch, and then every `every` epochs, the derivatives of the model at `x`
    are computed inside a `tf.function` and compared with a reference. The errors are added to
    `logs` as `y_mse`, `dy_mse`, `d2y_mse`, so that the progress bar, History and all callbacks
    later in the list receive them.

    In other epochs, `logs` does not have these keys. So History and TensorBoard have only the
    measured values, whose epochs are in `monitor.history["epoch"]`; CSVLogger writes NA;
    EarlyStopping and ReduceLROnPlateau skip such an epoch, so that their patience counts
    measurements (Keras warns that the key is not available). The file names of
    ModelCheckpoint must not contain the keys.

    A monitor can be used in several fits. Its count of epochs continues, `fits` has the name
    and the first epoch of each fit, where consecutive fits of one name count as one, and `plot`
    draws a line between fits. In the fit of a `DerivativeModel`, the monitor measures the inner
    network.

    `print` and notebooks show the first, the last and the smallest value of each error.

    Args:
        x: Points, floats of shape `(batch, ...)`, as for `keras_smooth.derivatives`.
        reference: The exact values, with the shapes that `keras_smooth.derivatives` returns;
            axes of length 1 may be left out: a tuple of `order + 1` arrays (y, y', y''); a
            dict of arrays with the keys "y", "dy", "d2y"; a DataFrame with such columns,
            among others; or a function of tensors, written with `keras.ops`, which is
            differentiated in float64.
        order: The highest order of the derivatives to compare, 0 or more.
        metric: `"mse"`, `"mae"`, the name, class or an instance of any Keras metric, or a
            function, of `(y_true, y_pred)`. The keys in `logs` end with its name. If
            EarlyStopping monitors an error, set its argument `mode="min"`.
        every: Number of epochs between measurements. Callbacks of `fit_lbfgs` are called
            every `steps_per_execution` iterations: the monitor measures at the first call
            after `every` epochs.
        prefix: Prefix of the keys, to distinguish several monitors.
        also: Further quantities to compare, for x as one array with any number of columns:
            `"gradient_norm"`, the length of the gradient, and `"laplacian"`, the trace of
            the Hessian. Their keys are `gradient_norm_mse` and `laplacian_mse`; the errors of
            gradient and Hessian are those of dy and d2y.
        log_dir: Directory for TensorBoard: the errors of each measurement as scalars, and
            the figures of `plot`.
        live: Whether a notebook shows the figure of `plot` during training. Outside of a
            notebook, there is a warning and no figure.
        figure_every: Number of epochs between the figures for `log_dir` and `live`, each of
            which takes a few tenths of a second. With None, a figure is drawn at measurements
            1, 2, 4, 8 and so on. There is always one at the last measurement.

    Raises:
        TypeError: If x is not of floats, `order`, `every` or `figure_every` is not an integer,
            `also` is not a list or tuple of names, or the reference is none of the above or is
            a function of NumPy.
        ValueError: If the reference does not fit x or `order`, a number is not finite,
            `order`, `every` or `figure_every` is too small, or a name of `also` is unknown or
            needs a higher order. When training begins: if the reference does not fit the
            model.
        ImportError: If TensorBoard, for `log_dir`, or matplotlib, for `log_dir` or `live`, is
            not installed.

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

    Two inputs, with the Laplacian:

    >>> x = np.random.default_rng(0).uniform(size=(20, 2))
    >>> def waves(x):
    ...     return ops.sin(x[:, :1]) * ops.cos(x[:, 1:])
    >>> monitor = keras_smooth.DerivativeMonitor(x, waves, also=["laplacian"])
    >>> monitor.keys
    ['y_mse', 'dy_mse', 'd2y_mse', 'laplacian_mse']
    """

    def __init__(
        self,
        x: Any,
        reference: Callable | Sequence | Mapping,
        order: int = 2,
        metric: str | type | keras.metrics.Metric = "mse",
        every: int = 1,
        prefix: str = "",
        also: Sequence[str] = (),
        log_dir: str | os.PathLike | None = None,
        live: bool = False,
        figure_every: int | None = None,
    ) -> None:
        super().__init__()
        self.order = whole_number("`order`", order, least=0)
        self.every = whole_number("`every`", every, least=1)
        self._measurement = Measurement(x, reference, self.order, metric, also)
        self.x = self._measurement.x
        prefix, metric_name = text("`prefix`", prefix), self._measurement.metric_name
        self.keys = [f"{prefix}{name}_{metric_name}" for name in self._measurement.names]
        if figure_every is not None:
            figure_every = whole_number("`figure_every`", figure_every, least=1)
        self._figure_every = figure_every
        self.history = dict.fromkeys(["epoch", *self.keys], np.array([]))
        self.history["epoch"] = np.array([], int)
        self._fits = Fits()
        # Number of measurements before the latest fit.
        self._num_before = 0
        self._last_drawn: int | None = None
        name = f"{prefix}derivatives"
        self._display_makers = displays.display_makers(log_dir, live, name)
        self._displays: list = []

    @property
    def reference(self) -> list[np.ndarray]:
        """The exact y, y', ...; the arrays of a structure are flattened and concatenated."""
        return self._measurement.reference

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._measurement.begin(self.model)
        self._num_before, self._last_drawn = self.history["epoch"].size, None
        self._fits.begin()
        if is_built(self.model):
            # If the shapes differ, this raises the error before the first epoch.
            self._measurement.pairs()
        self._displays = [make() for make in self._display_makers]

    @property
    def _measured(self) -> np.ndarray:
        """The epochs of the measurements in this fit."""
        return self.history["epoch"][self._num_before :]

    @property
    def fits(self) -> list[tuple[str, int]]:
        """Name and first epoch of each fit; consecutive fits with the same name are one row."""
        return list(self._fits.rows)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._fits.count(epoch, self.model, self.params)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        epoch = self._fits.count(epoch, self.model, self.params)
        self._fits.last = epoch
        if self._measured.size and epoch - self._measured[-1] < self.every:
            return
        errors = self.measure()
        for key, value in {"epoch": epoch, **errors}.items():
            self.history[key] = np.append(self.history[key], value)
        if logs is not None:
            logs.update(errors)
        self._display(epoch, errors)

    def on_train_end(self, logs: dict | None = None) -> None:
        if self._measured.size and self._last_drawn != self._measured[-1]:
            self._display_figure(int(self._measured[-1]))
        for display in self._displays:
            display.end()

    def measure(self) -> dict[str, float]:
        """Returns the errors of the model with its present weights, by key."""
        pairs = self._measurement.pairs()
        vanishing = [k for k in range(1, self.order + 1) if not np.any(pairs[k][1])]
        if vanishing:
            warn_once(
                self,
                f"The derivative of order {vanishing[0]} is 0 at every point: an activation such "
                "as ReLU has none to give. keras_smooth.smoothness(model) tells the class of the "
                "model.",
                topic="zero",
            )
        errors = itertools.starmap(self._measurement.error, pairs)
        return dict(zip(self.keys, errors, strict=True))

    def values(self) -> list[np.ndarray]:
        """Returns y, y', ... of the model at x, with its present weights.

        Each is an array; the tensors of a structure are flattened and concatenated.
        """
        return self._measurement.values()

    def __getstate__(self) -> dict:
        """Returns the state of a copy, which has all measurements but no model."""
        set_by_fit = vars(keras.callbacks.Callback())
        state = {
            name: value for name, value in vars(self).items() if name not in set_by_fit
        }
        return {
            **state,
            "history": dict(self.history),
            "_displays": [],
            "_fits": copy.deepcopy(self._fits),
            "_measurement": copy.copy(self._measurement),
        }

    def __setstate__(self, state: dict) -> None:
        super().__init__()
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return f"<DerivativeMonitor of {', '.join(self.keys)}: {self._describe_size()}>"

    def _describe_size(self) -> str:
        num_points = len(keras.tree.flatten(self.x)[0])
        measurements = counted(self.history["epoch"].size, "measurement")
        return f"{counted(num_points, 'point')}, {measurements}"

    def _table(self) -> Table:
        epochs, rows, notes = self.history["epoch"], [], []
        for order, key in enumerate(self.keys if epochs.size else ()):
            errors = self.history[key]
            least = 0 if np.isnan(errors).all() else np.nanargmin(errors)
            epoch = int(epochs[least])
            numbers = (f"{errors[i]:.1e}" for i in (0, -1, least))
            rows.append((key, *numbers, str(epoch)))
            if order == self.order:
                fit = self._fits.name_of(epoch)
                least_error = f"{np.min(errors):.1e}, of epoch {epoch} ({fit})."
                notes.append(f"The least {key} is {least_error}")
        return Table(
            title=f"DerivativeMonitor: {self._describe_size()}",
            head=("error", "first", "last", "least", "of epoch"),
            rows=rows,
            notes=notes,
        )

    def plot(
        self, along: int | str | None = None, *, at: Any = None, entries: Any = None
    ) -> Any:
        """Draws the errors over the epochs, and the values of the network with the exact ones.

        With one input, the values are drawn as curves, with a line for each output. With more
        inputs, the values of y, gradient, Hessian and `also` are drawn over the exact values, so
        that correct ones are on the diagonal. `along`, `at` and `entries` select other panels
        below the errors.

        A notebook shows the figure as the value of a cell. In a script with a screen, the figure
        has a window of pyplot, which opens with `pyplot.show()`, with `show()` of the figure, or
        when the script ends, unless `savefig` has written the figure to a file.

        Args:
            along: The number of an input, a column of x: values and errors of all samples are
                drawn over this input. `"samples"` draws them over the samples, sorted by the
                exact values.
            at: If `along` is a number, a slice is drawn instead of the samples: y and its
                derivatives with respect to this input, over this input. The other inputs are
                fixed at their `"median"` or at this point. `reference` must be a function.
            entries: Entries to draw, each in its own panel: a dict such as
                `{"dy": 0, "d2y": [(0, 0), (0, 1)]}` with the names y, dy, d2y, ... and indices of
                a sample of `values()`. With several outputs, an index begins with that of the
                output.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            TypeError: If `along` is not an integer, or `entries` is not a dict.
            ValueError: If nothing was measured yet, x is a structure, an argument does not fit
                x, `at` and `entries` are combined, or a slice has no function as `reference`.
        """
        return self._make_figure(figures.shown, along, at, entries)

    def _make_figure(
        self, new_figure: Callable, along: Any = None, at: Any = None, entries: Any = None
    ) -> Any:
        """Draws the requested panels on a figure from `new_figure`, and returns the figure."""
        if not self.history["epoch"].size:
            raise ValueError("Nothing was measured yet: pass the monitor to fit.")
        measurement = self._measurement
        draw, num_panels = drawing.choose_panels(
            measurement.figure_values(), along, at, entries, measurement.slice_values
        )
        figure = new_figure(4 * max(num_panels, 2), 7)
        above, below = figure.subfigures(2, 1)
        errors = {key: self.history[key] for key in self.keys}
        figures.errors(above, self.history["epoch"], errors, self.fits)
        draw(below)
        return figure

    def _display(self, epoch: int, errors: Mapping[str, float]) -> None:
        """Shows a measurement on the displays, and a figure if one is due."""
        for display in self._displays:
            display.numbers(epoch, errors)
        if self._figure_every is None:
            is_due = self._measured.size & (self._measured.size - 1) == 0  # a power of two
        else:
            last = self._last_drawn
            is_due = last is None or epoch - last >= self._figure_every
        if is_due:
            self._display_figure(epoch)

    def _display_figure(self, epoch: int) -> None:
        self._last_drawn = epoch
        if not self._displays:
            return
        try:
            figure = self._make_figure(figures.new)
            for display in self._displays:
                display.figure(epoch, figure)
        # An error in a figure must not end the fit.
        except Exception as error:
            message = f"The figure could not be drawn: {type(error).__name__}: {error}"
            warn_once(self, message)
