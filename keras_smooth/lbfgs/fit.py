"""fit_lbfgs: full-batch L-BFGS for any Keras model."""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_smooth.checks import path, shown, truth
from keras_smooth.lbfgs.advice import advice
from keras_smooth.lbfgs.descent import Descent
from keras_smooth.lbfgs.history import History
from keras_smooth.lbfgs.logs import Logs, of_metrics, of_terms
from keras_smooth.lbfgs.minimization import Minimization
from keras_smooth.lbfgs.model_checks import check_fittable, trained
from keras_smooth.lbfgs.options import Options
from keras_smooth.lbfgs.passed import Passed
from keras_smooth.lbfgs.progress import Progress
from keras_smooth.lbfgs.resample import Resample, check_resample
from keras_smooth.lbfgs.result import Status
from keras_smooth.lbfgs.resume import Resumable
from keras_smooth.lbfgs.terms import terms_of
from keras_smooth.lbfgs.variables import Variable, dtype_of
from keras_smooth.models.checked_inputs import explained_batch
from keras_smooth.presentation.other_names import refuses

_ITERATIONS = "`epochs`, the largest number of iterations"
_PAIRS = "`num_correction_pairs`, how many pairs of vectors are remembered"
_TOLERANCE = "`tolerance`, the largest entry of the gradient at which the fit is done"
# What SciPy, PyTorch, Optax, JAXopt and TFP call arguments.
_OTHER_NAMES = {
    **dict.fromkeys(("max_iter", "maxiter", "max_iterations", "iterations"), _ITERATIONS),
    **dict.fromkeys(("n_iter", "num_iterations", "nit", "steps", "max_steps"), _ITERATIONS),
    **dict.fromkeys(("m", "maxcor", "history_size", "memory_size"), _PAIRS),
    **dict.fromkeys(("memory", "num_pairs"), _PAIRS),
    **dict.fromkeys(("gtol", "tol", "tolerance_grad", "pgtol"), _TOLERANCE),
    **dict.fromkeys(
        ("ftol", "f_tol", "tolerance_change", "factr"),
        "`target`, the loss at which the fit is done, or `tolerance` for the gradient",
    ),
    **dict.fromkeys(
        ("loss", "loss_fn", "fun", "closure"),
        "`objective`, a function of the model and x, or `model.compile(loss=...)`",
    ),
    **dict.fromkeys(("callback",), "`callbacks`, a list of Keras callbacks"),
    **dict.fromkeys(("timeout", "max_time"), "`max_seconds`"),
    **dict.fromkeys(
        ("lr", "learning_rate"), "no learning rate: a line search finds the step"
    ),
}


@refuses(_OTHER_NAMES)
def fit_lbfgs(
    model: keras.layers.Layer,
    x: Any,
    y: Any = None,
    *,
    objective: Callable | None = None,
    loss_weights: Mapping[str, float] | None = None,
    variables: Sequence[Variable] = (),
    resample: Resample | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    batch_size: int | None = None,
    epochs: int = 1000,
    initial_epoch: int = 0,
    validation_data: Any = None,
    validation_split: float = 0.0,
    method: str = "lbfgs",
    num_correction_pairs: int | None = None,
    dtype: str | None = None,
    tolerance: float = 1e-10,
    target: float | None = None,
    max_seconds: float | None = None,
    max_restarts: int = 5,
    steps_per_execution: int | None = None,
    callbacks: list | None = None,
    verbose: str | int = "auto",
    jit_compile: bool = True,
    checkpoint: str | os.PathLike | None = None,
    throw: bool = False,
) -> keras.callbacks.History:
    """Trains a model on all data at once with L-BFGS.

    The loss is the model's own: `compile(loss=...)`, regularizers, `add_loss` and an
    overridden `compute_loss` included; or it is the sum of the terms of an `objective`, as
    the residual of an equation and its boundary values. Dropout keeps one mask for the
    whole run, as a line search needs. Moving averages (BatchNormalization) get the values
    that they would approach if training went on at the final weights. A weight without a
    gradient keeps its value, with a warning, as in `fit`. A run never ends with a larger
    loss than it started with, on the same points, unless a callback sets weights.

    What does not fit is refused before anything is compiled, after a look at all data and
    one evaluation of a few rows. The first call compiles, which takes seconds; further
    calls with the same model and shapes of data reuse the compiled function, until the
    model is compiled again: do so, as for `fit`, after a change of its layers or of what
    its `compute_loss` reads from Python. An `objective` is traced for every fit, and
    compiled again where the trace is another: when it is another function, or a number, an
    array or a branch that it reads from Python has changed, as in a continuation.

    Metrics and validation are those of `evaluate`, which computes in the model's precision
    and sums in float32; `loss` in the logs is the objective.

    In memory a fit takes 2.3 times the size of its checkpoint (see `checkpoint`), 3.4 times
    if it saves one, and up to 4.5 times without XLA: 0.5 GB for 300 pairs of 49,281 weights,
    0.9 GB for `"bfgs"` with 10,401 weights, in float64; TensorFlow with a compiled program
    takes 0.6 to 0.8 GB itself.

    Under a `tf.distribute` strategy every replica takes its share of the rows; every worker
    passes the same data. docs/several_devices.md says how to start several workers.

    Args:
        model: Built Keras model, compiled if there is no `objective`. Its optimizer is not
            used. With `objective` also a built layer.
        x: Inputs: an array, or a list or dict of arrays, as for `fit`; or a finite
            `tf.data.Dataset` or `keras.utils.PyDataset` of batches, the same in every pass.
            Floats are cast to the dtype of the weights, or to `dtype`. With `objective`,
            arrays in any nest, with different numbers of rows.
        y: Targets, in the same way; None with a dataset or an `objective`.
        objective: `objective(model, x)` returns what is minimized: a scalar, or a dict of
            scalars by name, whose sum it is. The terms are in the logs, beside `loss`. It
            gets the model or its copy in float64, and x as tensors, and may call
            `keras_smooth.derivatives` and its kin. Nothing is added to it: no loss of
            `compile`, no regularizer. Several devices share the rows if each array of x
            divides evenly, and terms are means over rows; else that is refused.
        loss_weights: What the terms of `objective` are multiplied by in the sum, by name;
            the logs have them without it. A term without an upper bound has no minimum with
            a negative weight.
        variables: A list of each `keras.Variable` or `tf.Variable` that `objective` uses and
            that is trained beside the weights of the model, of the dtype in which the fit
            computes: the unknowns of an inverse problem, or the weights of another model. A
            warning names what `objective` reads, could train and does not.
        resample: A `Resample`, which draws the points of an `objective` anew every so many
            iterations. None keeps x.
        sample_weight: Weights of the samples, 0 or more; None with a dataset.
        class_weight: Weights by class, 0 or more, a dict, in place of `sample_weight`, as
            for `fit`.
        batch_size: Rows to evaluate at once, for data whose activations, or which itself,
            does not fit into memory: arrays are taken in batches of this size, datasets
            are read again for every evaluation and cut into such batches. The steps are
            those of all data at once, to rounding. A loss that is neither an average nor
            a sum over rows is refused, as one with BatchNormalization in training mode.
            None takes all rows at once.
        epochs: Index of the last iteration, as for `fit`.
        initial_epoch: Index to begin at; `epochs - initial_epoch` iterations run at most.
        validation_data: `(x, y)`, `(x, y, sample_weight)` or a dataset, evaluated at every
            call of the callbacks; with `objective`, another x.
        validation_split: Fraction of the rows, the last ones, to hold out instead.
        method: `"lbfgs"`, self-scaled; `"bfgs"`, self-scaled with a dense inverse Hessian,
            which forgets nothing, for as many weights as fit into 2 GiB, 22,905 in float64;
            `"tfp_lbfgs"`, the L-BFGS of TensorFlow Probability, whose line search brackets
            every step; or `"tfp_bfgs"`, its BFGS with a dense inverse Hessian. Those two
            need `tf_keras`.
            benchmarks/lbfgs.md compares them.
        num_correction_pairs: Memory of L-BFGS, in pairs of vectors as long as the weights.
            More pairs need fewer iterations and make each slower; as many as weights, or
            more, are the dense matrix of `"bfgs"`, which is smaller. None takes that matrix
            in float64 as far as 8 MiB go, 1254 weights, and else a third of the number of
            rows, which costs about as much as an evaluation, but 50 at least, or what fits
            into 8 MiB, and 300 at most; and never more than fit into 256 MiB, or 3.
            `"tfp_lbfgs"` takes 50; for `"bfgs"` and `"tfp_bfgs"` it has no meaning.
            benchmarks/lbfgs.md has what more or fewer do.
        dtype: `"float64"` computes in float64 also for a float32 or mixed precision model,
            on a copy, and writes the weights back rounded. A subclassed model needs a
            `get_config`.
        tolerance: Largest absolute entry of the gradient at which the fit is done.
        target: Loss at which the fit is done.
        max_seconds: Wall time after which no further chunk of iterations begins.
        max_restarts: How often a dead line search starts again with empty memory.
        steps_per_execution: Iterations between two calls of the callbacks, which see
            them as the end of that epoch. The default makes about 100 calls.
        callbacks: Keras callbacks. The fit goes on from weights that one sets, with empty
            memory, as it does after a change of another variable that the loss reads.
            `BackupAndRestore` gives the weights back, but epochs begin anew; `checkpoint`
            goes on where the run was.
        verbose: 0 shows nothing. 1 and `"auto"` show a line that is written anew in terminals
            and notebooks, and about ten lines in a log: iteration, loss, largest gradient,
            time and what is left of it, evaluations, and what else is in the logs. 2 prints a
            line at every call of the callbacks.
        jit_compile: Whether to compile with XLA.
        checkpoint: Directory in which the run is saved at every call of the callbacks. A
            run that finds its own checkpoint there goes on from it, bit for bit, also to
            more epochs, a lower tolerance or a lower target. Its own is one that began at
            the weights that the model has, or ended there. It is weights and curvature
            memory, `2 m + 4` times the weights and `2 m^2` numbers for m pairs (some
            256 MiB at most by default); of `"bfgs"` with n weights n^2 numbers up to 512,
            3/4 of them up to 1024, and less and less, down to a half (2 GiB at most). In memory
            a fit takes several times as much, see above.
        throw: Whether to raise where a run breaks off, instead of only saying so in the
            result.

    Returns:
        A `keras.callbacks.History`, which notebooks show with its curves. Its `result` is an
        `OptimizeResult` with `success`, `status`, `message`, `fun`, `grad_norm`, `nit`, `nfev`
        and `restarts`.

    Raises:
        ValueError: If the model is not compiled or not built or has no trainable
            weights, no weight gets a gradient, one has a constraint, the data is empty,
            endless or not finite, shapes do not fit, an argument is out of range, or a
            checkpoint is of another run.
        TypeError: If an argument is of the wrong kind.
        ImportError: If a method of TensorFlow Probability cannot be used here.
        RuntimeError: With `throw=True`, if the line search died for good, the position
            stalled or the loss is not finite. The model has the best weights found.
        KeyboardInterrupt: After an interrupt. The model has the best weights found, and
            `model.history` all that was before it. So it is after an error of a callback.

    Example:

    >>> import keras, keras_smooth, numpy as np
    >>> model = keras.Sequential([keras.Input((1,), dtype="float64")])
    >>> model.add(keras_smooth.Dense(1, dtype="float64"))
    >>> model.compile(loss="mse")
    >>> x = np.linspace(-1.0, 1.0, 11)[:, None]
    >>> history = keras_smooth.fit_lbfgs(model, x, 3.0 * x + 1.0, verbose=0)
    >>> history.result.success, round(float(model.layers[0].kernel[0, 0]), 6)
    (True, 3.0)

    The equation u'' = -u with u(0) = 0 and u'(0) = 1, without `compile`:

    >>> def equation(model, x):
    ...     u, _, d2u = keras_smooth.derivatives(model, x["inside"])
    ...     u0, du0 = keras_smooth.derivatives(model, x["start"], 1)
    ...     start = keras.ops.sum(u0**2 + (du0 - 1.0) ** 2)
    ...     return {"equation": keras.ops.mean((d2u + u) ** 2), "start": start}
    >>> model = keras.Sequential([keras.Input((1,), dtype="float64")])
    >>> start = keras.initializers.GlorotUniform(seed=0)
    >>> model.add(keras_smooth.Dense(6, "tanh", kernel_initializer=start, dtype="float64"))
    >>> model.add(keras_smooth.Dense(1, kernel_initializer=start, dtype="float64"))
    >>> x = {"inside": np.linspace(0.0, 1.0, 20)[:, None], "start": np.zeros((1, 1))}
    >>> history = keras_smooth.fit_lbfgs(
    ...     model, x, objective=equation, epochs=300, jit_compile=False, verbose=0
    ... )
    >>> sorted(history.history)
    ['equation', 'loss', 'start']
    >>> round(float(model(np.ones((1, 1)))[0, 0]), 3)  # sin(1)
    0.841

    References:
        Liu and Nocedal, 1989, "On the limited memory BFGS method for large scale
        optimization", Mathematical Programming 45; Al-Baali, 1998, "Numerical experience
        with a class of self-scaling quasi-Newton algorithms", Journal of Optimization
        Theory and Applications 96; Hager and Zhang, 2005, "A new conjugate gradient method
        with guaranteed descent and an efficient line search", SIAM Journal on Optimization
        16.
    """
    _check_manners(callbacks, verbose, checkpoint, throw)
    options = Options(
        method=method,
        num_correction_pairs=num_correction_pairs,
        jit_compile=jit_compile,
        dtype=dtype,
        batch_size=batch_size,
        validation_split=validation_split,
        epochs=epochs,
        initial_epoch=initial_epoch,
        steps_per_execution=steps_per_execution,
        tolerance=tolerance,
        target=target,
        max_seconds=max_seconds,
        max_restarts=max_restarts,
    )
    terms = terms_of(objective, loss_weights, variables)
    check_resample(resample, terms)
    check_fittable(model, terms, dtype)
    passed = Passed(x, y, sample_weight, class_weight, validation_data)
    variables = trained(model, terms)
    data_dtype = dtype or dtype_of(variables[0])
    data, validation = passed.read(model, terms, options, data_dtype)
    num_weights = sum(math.prod(v.shape) for v in variables)
    options = options.for_size(data.num_rows, num_weights, data_dtype)
    with explained_batch(model, data.num_rows, batch_size):
        minimization = Minimization(model, data, options, terms)
    if validation is not None:
        minimization.check(validation)
    called = _callback_list(model, callbacks, options, verbose)
    progress = _progress(called, options, verbose)
    saved = None
    if checkpoint is not None:
        saved = Resumable(checkpoint, minimization, data, options, resample)
    model.stop_training = False
    called.on_train_begin()
    descent = _begin(minimization, saved, model.history, options)
    called.set_params({**called.params, "initial_epoch": initial_epoch + descent.nit})
    if terms is None:
        logs = of_metrics(model, data, validation, batch_size, called)
    else:
        logs = of_terms(minimization, validation)
    try:
        fit = _Fit(model, minimization, options, saved, resample, progress)
        last = fit.iterate(descent, called, logs)
    # An error of a callback, too, must not cost the best weights.
    except BaseException:
        descent.interrupt()
        raise
    finally:
        model.history.result = descent.result()
        progress.end(model.history.result)
        if saved:
            saved.end()
    called.on_train_end(last)
    # A callback may have given other weights back.
    if saved:
        saved.end()
    if throw and model.history.result.failed:
        raise RuntimeError(model.history.result.message)
    return model.history


def _check_manners(callbacks: Any, verbose: Any, checkpoint: Any, throw: Any) -> None:
    """Raises where what goes on beside the fit cannot be what it shall be."""
    is_list = isinstance(callbacks, list | tuple)
    for each in callbacks if is_list else [callbacks]:
        known = isinstance(each, keras.callbacks.Callback) or each is callbacks is None
        if not known:
            raise TypeError(
                "`callbacks` must be a list of keras.callbacks.Callback, received "
                f"{shown(each)}{' in it' if is_list else ''}."
            )
    if not isinstance(verbose, str | int) or verbose not in ("auto", 0, 1, 2):
        raise ValueError(f'`verbose` must be "auto", 0, 1 or 2, received {shown(verbose)}.')
    if checkpoint is not None:
        path("`checkpoint`", checkpoint)
    truth("`throw`", throw)


def _callback_list(
    model: Any, callbacks: Any, options: Options, verbose: Any
) -> keras.callbacks.CallbackList:
    given = keras.tree.flatten(callbacks) if callbacks else []
    has_history = any(isinstance(each, keras.callbacks.History) for each in given)
    return keras.callbacks.CallbackList(
        given if has_history else [*given, History()],
        verbose=verbose,
        epochs=options.epochs,
        steps=1,
        method=options.method,
        model=model,
    )


def _progress(
    called: keras.callbacks.CallbackList, options: Options, verbose: Any
) -> Progress:
    """Returns what shows the fit, unless the user's own callback does."""
    kind = keras.callbacks.ProgbarLogger
    shows_itself = any(isinstance(each, kind) for each in called.callbacks)
    return Progress(0 if shows_itself else verbose, options)


def _begin(minimization: Any, saved: Any, history: Any, options: Any) -> Descent:
    position = minimization.start()
    if saved:
        position = saved.begin(position)
    descent = Descent(
        minimization.minimizer, position, minimization.data, minimization.assign, options
    )
    if saved:
        saved.restore(descent, history)
    _warn_precision(minimization.model, minimization.objective.dtype)
    return descent


@dataclasses.dataclass(frozen=True)
class _Fit:
    """What goes on between a descent, its checkpoints and the callbacks."""

    model: keras.Model
    minimization: Minimization
    options: Options
    saved: Resumable | None
    resample: Resample | None
    progress: Progress

    def iterate(self, descent: Descent, callbacks: Any, logs: Logs) -> dict[str, float]:
        """Runs chunk after chunk and returns the last logs."""
        options, history = self.options, self.model.history
        deadline = math.inf
        if options.max_seconds is not None:
            deadline = time.monotonic() + options.max_seconds
        found = {}
        descent.stop_if(options.is_reached(descent.best.fun), Status.TARGET)
        # A run that is over at its start is told once, so that its history has a loss.
        while not history.epoch or (
            descent.status is None and descent.nit < options.num_iterations
        ):
            last = self._next_stop(descent.nit)
            epoch = options.initial_epoch + last - 1
            callbacks.on_epoch_begin(epoch)
            callbacks.on_train_batch_begin(0)
            self._follow(descent)
            self._draw(descent)
            descent.advance(last)
            callbacks.on_train_batch_end(0, {"loss": descent.best.fun})
            found = logs.at(descent.best.fun)
            callbacks.on_epoch_end(epoch, found)
            self.progress.update(descent, found)
            self._follow(descent)
            # At its start a run has nothing that another start would not have.
            if self.saved and descent.nit > 0:
                self.saved.save(descent, history)
            self._stop(descent, deadline)
        return found

    def _next_stop(self, nit: int) -> int:
        last = min(nit + self.options.chunk, self.options.num_iterations)
        return min(last, self.resample.next_draw(nit)) if self.resample else last

    def _follow(self, descent: Descent) -> None:
        """Goes on from what a callback has set, as `fit` does."""
        if self.minimization.was_changed():
            descent.jump(self.minimization.start())

    def _draw(self, descent: Descent) -> None:
        if self.resample and self.resample.is_due(descent.nit):
            minimization = self.minimization
            minimization.move(
                self.resample.drawn(
                    minimization.worker,
                    minimization.points,
                    descent.nit,
                    minimization.objective.dtype,
                )
            )
            descent.move(minimization.data)

    def _stop(self, descent: Descent, deadline: float) -> None:
        stopped, late = self.minimization.on_any_worker(
            self.model.stop_training, time.monotonic() > deadline
        )
        descent.stop_if(stopped, Status.STOPPED)
        descent.stop_if(self.options.is_reached(descent.best.fun), Status.TARGET)
        descent.stop_if(late, Status.TIME_LIMIT)


@advice
def _warn_precision(model: keras.Model, dtype: str) -> str | None:
    if dtype == "float64":
        return None
    return (
        f"fit_lbfgs runs in {dtype}: line searches stall at a loss near 1e-8 and y'' is "
        'noisy. Pass dtype="float64", or build the model with it, to go further.'
    )
