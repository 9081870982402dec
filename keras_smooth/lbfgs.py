"""fit_lbfgs: full-batch L-BFGS for any compiled Keras model."""

import dataclasses
import enum
import math
import time
import warnings
import weakref

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.minimizers import METHODS, Minimizer
from keras_smooth.objective import Objective, loss_weights


class Status(enum.IntEnum):
    """Why a run ended."""

    TOLERANCE = 0
    ITERATION_LIMIT = 1
    LINE_SEARCH = 2
    STALLED = 3
    NON_FINITE = 4
    STOPPED = 5
    TARGET = 6
    TIME_LIMIT = 7


_MESSAGES = {
    Status.TOLERANCE: "The gradient is below the tolerance.",
    Status.ITERATION_LIMIT: "The iteration limit was reached; the gradient is above the "
    "tolerance. More epochs would lower the loss further.",
    Status.LINE_SEARCH: "The line search found no better point. Try float64, another "
    "start or a smoother activation.",
    Status.STALLED: "The position no longer changes, though the gradient is above the "
    "tolerance: rounding is in the way. Try float64.",
    Status.NON_FINITE: "The loss is inf or NaN on the way. Look at the data, the start "
    "and logarithms or roots in the model.",
    Status.STOPPED: "A callback stopped the training.",
    Status.TARGET: "The loss is at or below the target.",
    Status.TIME_LIMIT: "The time limit was reached; the gradient is above the tolerance. "
    "Give it more seconds, or a loss to aim for with `target`.",
}


@dataclasses.dataclass(frozen=True)
class OptimizeResult:
    """How a full-batch fit ended; the names are SciPy's.

    Args:
        success: Whether the gradient is below the tolerance, or the loss at the target.
        status: 0 gradient below the tolerance, 1 iteration limit, 2 line search dead, 3
            stalled, 4 loss not finite, 5 stopped by a callback, 6 loss at the target, 7
            time limit.
        message: The status in words, with advice.
        fun: Loss of the weights that the model has now.
        grad_norm: Largest absolute entry of the gradient there.
        nit: Number of iterations.
        nfev: Number of evaluations of loss and gradient.
        restarts: How often a dead line search was started again with empty memory.
    """

    success: bool
    status: int
    message: str
    fun: float
    grad_norm: float
    nit: int
    nfev: int
    restarts: int

    @property
    def failed(self) -> bool:
        """Whether the run broke off: neither the tolerance nor a limit nor a callback."""
        return self.status in (Status.LINE_SEARCH, Status.STALLED, Status.NON_FINITE)


def fit_lbfgs(
    model: keras.Model,
    x,
    y=None,
    *,
    sample_weight=None,
    epochs: int = 1000,
    method: str = "lbfgs",
    num_correction_pairs: int = 50,
    tolerance: float = 1e-10,
    target: float | None = None,
    max_seconds: float | None = None,
    max_restarts: int = 5,
    steps_per_execution: int | None = None,
    callbacks: list | None = None,
    verbose: str | int = "auto",
    jit_compile: bool = True,
    throw: bool = False,
) -> keras.callbacks.History:
    """Trains a compiled model on all data at once with L-BFGS.

    The loss is the model's own: `compile(loss=...)`, regularizers, `add_loss` and an
    overridden `compute_loss` included. The first call compiles, which takes seconds;
    further calls with the same model and shapes of data reuse the compiled function.
    A run never ends with a larger loss than it started with.

    Args:
        model: Built and compiled Keras model. Its optimizer is not used.
        x: Inputs: an array, or a list or dict of arrays, as for `fit`.
        y: Targets, in the same way.
        sample_weight: Weights of the samples.
        epochs: Largest number of iterations.
        method: `"lbfgs"`; `"tfp_lbfgs"`, the L-BFGS of TensorFlow Probability, whose line
            search brackets every step; or its `"bfgs"` with a dense inverse Hessian, n^2
            numbers. benchmarks/lbfgs.md compares them.
        num_correction_pairs: Memory of L-BFGS.
        tolerance: Largest absolute entry of the gradient at which the fit is done.
        target: Loss at which the fit is done.
        max_seconds: Wall time after which no further chunk of iterations begins.
        max_restarts: How often a dead line search starts again with empty memory.
        steps_per_execution: Iterations between two calls of the callbacks, which see
            them as the end of that epoch. The default makes about 100 calls.
        callbacks: Keras callbacks.
        verbose: 0, 1 or 2, as for `fit`.
        jit_compile: Whether to compile with XLA.
        throw: Whether to raise where a run breaks off, instead of only saying so in the
            result.

    Returns:
        A `keras.callbacks.History`. Its `result` is an `OptimizeResult` with `success`,
        `status`, `message`, `fun`, `grad_norm`, `nit`, `nfev` and `restarts`.

    Raises:
        ValueError: If the model is not compiled or not built or has no trainable
            weights, the data is empty or not finite, or an argument is out of range.
        RuntimeError: With `throw=True`, if the line search died for good, the position
            stalled or the loss is not finite. The model has the best weights found.

    Example:

    >>> import keras, keras_smooth, numpy as np
    >>> model = keras.Sequential([keras.Input((1,), dtype="float64")])
    >>> model.add(keras_smooth.Dense(1, dtype="float64"))
    >>> model.compile(loss="mse")
    >>> x = np.linspace(-1.0, 1.0, 11)[:, None]
    >>> history = keras_smooth.fit_lbfgs(model, x, 3.0 * x + 1.0, verbose=0)
    >>> history.result.success, round(float(model.layers[0].kernel[0, 0]), 6)
    (True, 3.0)

    References:
        Liu and Nocedal, 1989, "On the limited memory BFGS method for large scale
        optimization", Mathematical Programming 45; Hager and Zhang, 2005, "A new
        conjugate gradient method with guaranteed descent and an efficient line search",
        SIAM Journal on Optimization 16.
    """
    _check_arguments(epochs, method, num_correction_pairs, steps_per_execution)
    objective, minimizer = _compiled(model, method, num_correction_pairs, jit_compile)
    if objective.dtype != "float64":
        _warn_precision(objective.dtype)
    data = _tensors(x, y, sample_weight)
    chunk = steps_per_execution or math.ceil(epochs / 100)
    deadline = time.monotonic() + (math.inf if max_seconds is None else max_seconds)
    run = _Run(objective, minimizer, data, tolerance, max_restarts)
    callbacks = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=epochs,
        steps=1,
        model=model,
    )
    model.stop_training = False
    callbacks.on_train_begin()
    logs = {}
    while run.status is None and run.nit < epochs:
        last = min(run.nit + chunk, epochs)
        callbacks.on_epoch_begin(last - 1)
        run.advance(last)
        logs = {"loss": run.best.fun}
        callbacks.on_epoch_end(last - 1, logs)
        run.stop_if(model.stop_training, Status.STOPPED)
        run.stop_if(target is not None and run.best.fun <= target, Status.TARGET)
        run.stop_if(time.monotonic() > deadline, Status.TIME_LIMIT)
    callbacks.on_train_end(logs)
    model.history.result = run.result()
    if throw and model.history.result.failed:
        raise RuntimeError(model.history.result.message)
    return model.history


class _Best:
    """The lowest point so far."""

    def __init__(self, state):
        self.position = state.position
        self.fun = float(state.objective_value)
        self.grad_norm = float(tf.reduce_max(tf.abs(state.objective_gradient)))


class _Run:
    """One fit: TFP's states one after another, with restarts and an honest end."""

    def __init__(self, objective, minimizer, data, tolerance, max_restarts):
        self.objective = objective
        self.minimizer = minimizer
        self.data = data
        self.tolerance = tolerance
        self.max_restarts = max_restarts
        self.deaths = []
        self.status = None
        self._finished = [0, 0]
        self.state = minimizer.begin(objective.position, data)
        self.best = _Best(self.state)
        if not math.isfinite(self.best.fun) or not math.isfinite(self.best.grad_norm):
            self.status = Status.NON_FINITE
        elif self.best.grad_norm <= tolerance:
            self.status = Status.TOLERANCE

    @property
    def nit(self) -> int:
        return self._finished[0] + int(self.state.num_iterations)

    @property
    def nfev(self) -> int:
        return self._finished[1] + int(self.state.num_objective_evaluations)

    def advance(self, nit: int) -> None:
        """Iterates until `self.nit == nit` or the run is over; the model gets the best."""
        while self.status is None and self.nit < nit:
            before = self.state
            self.state = self.minimizer.advance(
                before, nit - self.nit, self.tolerance, self.data
            )
            self._keep_best()
            self._judge(before)
        self.objective.assign(self.best.position)

    def stop_if(self, condition: bool, status: Status) -> None:
        """Ends the run, unless it has ended for another reason."""
        if condition and self.status is None:
            self.status = status

    def result(self) -> OptimizeResult:
        status = Status.ITERATION_LIMIT if self.status is None else self.status
        return OptimizeResult(
            success=status in (Status.TOLERANCE, Status.TARGET),
            status=int(status),
            message=" ".join([*self._deaths_in_words(), _MESSAGES[status]]),
            fun=self.best.fun,
            grad_norm=self.best.grad_norm,
            nit=self.nit,
            nfev=self.nfev,
            restarts=len(self.deaths),
        )

    def _deaths_in_words(self) -> list[str]:
        if not self.deaths:
            return []
        iterations = ", ".join(map(str, self.deaths))
        return [
            f"The line search died at iteration {iterations} and started again with empty "
            "memory."
        ]

    def _keep_best(self) -> None:
        latest = _Best(self.state)
        finite = np.all(np.isfinite(latest.position)) and math.isfinite(latest.grad_norm)
        if finite and latest.fun <= self.best.fun:
            self.best = latest

    def _judge(self, before) -> None:
        """Tells a reached tolerance, a dead line search and a stall apart."""
        if self.best.grad_norm <= self.tolerance:
            self.status = Status.TOLERANCE
            return
        stalled = bool(tf.reduce_all(self.state.position == before.position))
        if not (self.state.failed or self.state.converged or stalled):
            return
        empty = int(self.state.num_iterations) == 0
        if empty or len(self.deaths) >= self.max_restarts:
            self.status = self._cause(stalled and not self.state.failed)
        else:
            self._restart()

    def _cause(self, stalled: bool) -> Status:
        if self.minimizer.sees_non_finite(self.best.position, self.data):
            return Status.NON_FINITE
        return Status.STALLED if stalled else Status.LINE_SEARCH

    def _restart(self) -> None:
        self.deaths.append(self.nit)
        self._finished = [self.nit, self.nfev]
        self.state = self.minimizer.begin(self.best.position, self.data)


# One compiled function a model and method, for as long as the model lives.
_programs = weakref.WeakKeyDictionary()


def _compiled(model, method, num_correction_pairs, jit_compile):
    """Returns the objective and the minimizer, made anew when the model was changed."""
    key = (method, num_correction_pairs, jit_compile)
    objective = Objective(model)
    signature = [model.loss, loss_weights(model), *map(id, objective.variables)]
    found = _programs.setdefault(model, {}).get(key)
    if found is None or found[0] != signature:
        minimizer = Minimizer(objective.value_and_gradient, *key)
        found = _programs[model][key] = (signature, objective, minimizer)
    return found[1:]


def _check_arguments(epochs, method, num_correction_pairs, steps_per_execution) -> None:
    if method not in METHODS:
        raise ValueError(f"Unknown method {method!r}. Known: {', '.join(METHODS)}.")
    counts = {
        "epochs": epochs,
        "num_correction_pairs": num_correction_pairs,
        "steps_per_execution": 1 if steps_per_execution is None else steps_per_execution,
    }
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"`{name}` must be 1 or more, received {count!r}.")


def _tensors(x, y, sample_weight) -> tuple:
    data = (x, y, sample_weight)
    for name, part in zip(("x", "y", "sample_weight"), data):
        for array in keras.tree.flatten(part):
            _check_array(name, array)
    return keras.tree.map_structure(
        lambda part: None if part is None else tf.convert_to_tensor(part), data
    )


def _check_array(name: str, array) -> None:
    if array is None:
        return
    array = np.asarray(array)
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}.")
    if np.issubdtype(array.dtype, np.floating) and not np.all(np.isfinite(array)):
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, but {name}[{place}] is {array[place]}.")


_warned = set()


def _warn_precision(dtype: str) -> None:
    if dtype in _warned:
        return
    _warned.add(dtype)
    warnings.warn(
        f"fit_lbfgs runs in {dtype}: line searches stall at a loss near 1e-8 and y'' is "
        'noisy. Build the model with dtype="float64" to go further.',
        stacklevel=3,
    )
