"""`fit_lbfgs`: full-batch L-BFGS for any Keras model."""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_smooth.lbfgs.checks.model import check_fittable
from keras_smooth.lbfgs.history import History
from keras_smooth.lbfgs.logs import log_function
from keras_smooth.lbfgs.minimizers import MINIMIZERS
from keras_smooth.lbfgs.objective.variables import Variable, explained_held_tensors
from keras_smooth.lbfgs.progress import Progress
from keras_smooth.lbfgs.request import Request
from keras_smooth.lbfgs.resample import Resample
from keras_smooth.lbfgs.result import Status
from keras_smooth.lbfgs.run.checkpoint import ResumableFit
from keras_smooth.lbfgs.run.fit_problem import FitProblem
from keras_smooth.lbfgs.run.optimization_run import OptimizationRun
from keras_smooth.models.checked_inputs import explained_batch
from keras_smooth.models.tracing import eager_only
from keras_smooth.presentation.other_names import refuses

# Names of arguments in SciPy, PyTorch, Optax, JAXopt and TFP, and their equivalents here.
_NAMES_ELSEWHERE = {
    "max_iter maxiter max_iterations iterations n_iter num_iterations nit steps max_steps": (
        "`epochs`, the largest number of iterations"
    ),
    "m maxcor history_size memory_size memory num_pairs": (
        "`num_correction_pairs`, how many pairs of vectors are remembered"
    ),
    "gtol tol tolerance_grad pgtol": (
        "`tolerance`, the largest entry of the gradient at which the fit is done, relative to "
        "that at the start"
    ),
    "ftol f_tol tolerance_change factr": (
        "`target`, the loss at which the fit is done, relative to that at the start, or "
        "`tolerance` for the gradient"
    ),
    "loss loss_fn fun closure": (
        "`objective`, a function of the model and x, or `model.compile(loss=...)`"
    ),
    "callback": "`callbacks`, a list of Keras callbacks",
    "timeout max_time": "`max_seconds`",
    "lr learning_rate": "no learning rate: a line search finds the step",
}
_OTHER_NAMES = {
    name: use for names, use in _NAMES_ELSEWHERE.items() for name in names.split()
}


@eager_only
@refuses(_OTHER_NAMES)
@explained_held_tensors()
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
    relative: bool = True,
    max_seconds: float | None = None,
    max_restarts: int = 5,
    steps_per_execution: int | None = None,
    callbacks: list | None = None,
    verbose: str | int = "auto",
    jit_compile: bool = True,
    checkpoint: str | os.PathLike | None = None,
    throw: bool = False,
) -> keras.callbacks.History:
    """Trains a model with full-batch L-BFGS.

    The loss is that of the model, including `compile(loss=...)`, regularizers, `add_loss` and
    an overridden `compute_loss`. With an `objective`, the loss is the sum of the terms that this
    function returns, such as the residual of an equation and its boundary values (a PINN).
    Dropout keeps one mask for the whole run, since a line search needs a fixed function.
    Moving averages (BatchNormalization) get the values that they would approach in further
    training at the final weights. A weight without a gradient keeps its value, with a
    warning, as in `fit`. A run never ends with a larger loss than at its beginning, on the
    same points, unless a callback sets weights.

    Invalid arguments raise an error before anything is compiled, after a check of all data
    and one evaluation of a few rows. The first call compiles, which takes seconds. Later
    calls with the same model and shapes of data reuse the compiled function. The loss or the
    `objective` is traced for every fit, and compiled again if the trace has changed: if it or
    an activation is another function, or if a number, an array or a branch that it reads from
    Python has changed, as in a continuation.

    Metrics and validation are those of `evaluate`, which computes in the model's precision
    and sums in float32; `loss` in the logs is the objective.

    A fit needs 2.3 times as much memory as its checkpoint (see `checkpoint`), 3.4 times if it
    saves one, and up to 4.5 times without XLA: 0.5 GB for 300 pairs of 49,281 weights, 0.9 GB
    for `"bfgs"` with 10,401 weights, in float64. TensorFlow with a compiled program needs
    another 0.6 to 0.8 GB.

    Under a `tf.distribute` strategy every replica computes its share of the rows; every worker
    passes the same data. docs/several_devices.md says how to start several workers.

    Args:
        model: Built Keras model, compiled if there is no `objective`. Its optimizer is not
            used. With `objective` also a built layer.
        x: Inputs: an array, or a list or dict of arrays, as for `fit`; or a finite
            `tf.data.Dataset` or `keras.utils.PyDataset` of batches, the same in every pass.
            Floats are cast to the dtype of the weights, or to `dtype`. With `objective`,
            a nested structure of arrays, which may have different numbers of rows.
        y: Targets, in the same form as x; None with a dataset or an `objective`.
        objective: `objective(model, x)` returns a scalar to minimize, or a dict of named scalars
            whose sum is minimized. With `method="gauss_newton"`, it returns residuals in place of
            scalars. The terms are in the logs, next to `loss`.
            The function receives the model, or its copy in float64, and x as tensors, and may
            call `keras_smooth.derivatives` and the other operators. Neither the loss of `compile`
            nor regularizers are added to it. Several devices share the rows if each array of x
            divides evenly and the loss is a mean or a sum over rows; otherwise an error is raised.
        loss_weights: Factors of the terms of `objective` in the sum, by name; the logs have
            the terms without them. A term without an upper bound has no minimum with a
            negative weight.
        variables: A list of `keras.Variable` or `tf.Variable` that `objective` reads and that
            are trained together with the weights of the model, in the dtype in which the fit
            computes: the unknowns of an inverse problem, or the weights of another model. A
            warning names variables that `objective` reads and that are not trained.
        resample: A `Resample`, which draws new points of an `objective` every so many
            iterations. None keeps x.
        sample_weight: Weights of the samples, 0 or more; None with a dataset.
        class_weight: Weights by class, 0 or more, a dict, in place of `sample_weight`, as
            for `fit`.
        batch_size: Rows to evaluate at once, if the activations or the data do not fit into
            memory: arrays are evaluated in batches of this size; datasets are read again for
            every evaluation, in such batches. The steps are those of all data at once, except
            for rounding. A loss that is neither an average nor a sum over rows, such as one
            with BatchNormalization in training mode, is an error. None uses all rows at
            once.
        epochs: Index at which the fit ends, as for `fit`.
        initial_epoch: Index at which it begins; at most `epochs - initial_epoch` iterations run.
        validation_data: `(x, y)`, `(x, y, sample_weight)` or a dataset, evaluated at every
            call of the callbacks; with `objective`, another x.
        validation_split: Fraction of the rows, the last ones, to use as validation data instead.
        method: The minimizer. `"lbfgs"` is self-scaled L-BFGS. `"broyden"` and `"bfgs"` are
            self-scaled, with a dense inverse Hessian, which forgets nothing, for as many weights
            as fit into 2 GiB: 22,905 in float64.
            `"gauss_newton"` is for mean squares: `compile(loss="mse")` without regularizers or
            other losses, or an `objective` that returns residuals, or a dict of them. Residuals
            are arrays of any shape, and a single number is passed as `number[None]`, since a
            scalar may be a mean by mistake. The terms are the mean squares of the residuals. An
            iteration takes as long as some ten to some hundred evaluations, but a few dozen
            iterations are enough: docs/howto/lbfgs_after_adam.md says where this method is ahead.
            The Jacobian is that of a sample of the rows, which grows up to 2 GiB, and with more
            than 8192 weights up to 8192 residuals. If a residual depends on several rows, it is
            that of all rows. All rows must be in memory, on one device, and XLA does not compile
            this method.
            `"tfp_lbfgs"` is the L-BFGS of TensorFlow Probability, whose line search brackets
            every step, and `"tfp_bfgs"` its BFGS with a dense inverse Hessian. These two need
            `tf_keras`. benchmarks/lbfgs.md compares the methods.
        num_correction_pairs: Memory of `"lbfgs"`, in pairs of vectors with one number for each
            weight. More pairs need fewer iterations and make each one slower. As many pairs
            as weights, or more, use the dense matrix of `"broyden"` instead, which is
            smaller. None, the default, uses this matrix in float64 for up to 1254 weights
            (8 MiB), or up to 64 MiB if there are at most four weights for each row.
            Otherwise, it uses a third of the number of rows, which costs about as much as an
            evaluation, but at least 50 pairs, or as many as fit into 8 MiB, and at most 300,
            or as many as fit into 256 MiB. `"tfp_lbfgs"` uses 50 by default. Methods with a
            dense matrix ignore it. benchmarks/lbfgs.md compares numbers of pairs.
        dtype: `"float64"` computes in float64 also for a float32 or mixed precision model,
            on a copy, and writes the weights back rounded. A subclassed model needs a
            `get_config`.
        tolerance: Largest absolute entry of the gradient at which the fit is done, relative to
            that at the start.
        target: Loss at which the fit is done, relative to its absolute value at the start.
        relative: Whether `tolerance` and `target` are relative to the start. If False, they are
            the gradient and the loss themselves.
        max_seconds: Wall time after which no further chunk of iterations begins.
        max_restarts: How often the fit continues with empty memory after a failed line search.
        steps_per_execution: Number of iterations between two calls of the callbacks, which
            receive the index of the last one as the epoch. The default makes about 100 calls.
        callbacks: Keras callbacks. If a callback sets weights, the fit continues from these
            with an empty memory. It does the same if another variable that the loss reads
            has changed. `BackupAndRestore` restores the weights, but starts again at epoch
            0; `checkpoint` continues at the saved epoch.
        verbose: 0 shows nothing. 1 and `"auto"` show a line that is updated in terminals and
            notebooks, and about ten lines in a log: iteration, loss, largest gradient,
            elapsed and remaining time, evaluations, and the other logs. 2 prints a line at
            every call of the callbacks.
        jit_compile: Whether to compile with XLA.
        checkpoint: Directory in which the run is saved at every call of the callbacks. If
            the directory has a checkpoint of the same run, the fit continues from it, bit for
            bit, also with more epochs, a lower tolerance or a lower target. A checkpoint is of
            the same run if the weights of the model, and other variables that the loss reads, have
            the values with which that run began or ended. They get their saved values.
            Its size is `2 m + 4` vectors of weights and `2 m^2` numbers for m pairs (by
            default at most about 256 MiB). For `"broyden"` and `"bfgs"` with n weights it is
            n^2 numbers for n up to 512, 3/4 n^2 up to 1024, and approaches n^2 / 2 for large
            n (at most 2 GiB). A fit needs several times as much memory, see above.
        throw: Whether to raise a RuntimeError if the run fails, instead of only noting it in
            the result.

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
        RuntimeError: With `throw=True`, if the line search failed after all restarts, the
            weights no longer changed, or the loss is not finite or differs from call to call.
            The model has the best weights.
        KeyboardInterrupt: After an interrupt. The model has the best weights, and
            `model.history` has the epochs before it, as after an error of a callback.

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
        16; Transtrum and Sethna, 2012, "Improvements to the Levenberg-Marquardt algorithm for
        nonlinear least-squares minimization", arXiv:1201.5885.
    """
    # At this point the local variables are the arguments.
    request = Request(**locals())
    check_fittable(request)
    data, validation = request.read()
    with explained_batch(model, data.num_rows, batch_size):
        problem = FitProblem(request, data, validation)
    callback_list = _callback_list(request)
    progress = Progress(request)
    resumable = None if checkpoint is None else ResumableFit(checkpoint, problem)
    model.stop_training = False
    callback_list.on_train_begin()
    start = problem.start()
    run = OptimizationRun(problem, resumable.begin(start) if resumable else start)
    if resumable:
        resumable.restore(run, model.history)
    first_epoch = initial_epoch + run.nit
    callback_list.set_params({**callback_list.params, "initial_epoch": first_epoch})
    compute_logs = log_function(problem, validation, callback_list)
    try:
        logs = _run_chunks(problem, run, resumable, callback_list, compute_logs, progress)
    # The model keeps the best weights, even after an error in a callback.
    except BaseException:
        run.interrupt()
        raise
    finally:
        model.history.result = run.result()
        progress.end(model.history.result)
        if resumable:
            resumable.end()
    callback_list.on_train_end(logs)
    # A callback may have restored other weights.
    if resumable:
        resumable.end()
    if throw and model.history.result.failed:
        raise RuntimeError(model.history.result.message)
    return model.history


def _callback_list(request: Request) -> keras.callbacks.CallbackList:
    """Returns the callbacks, with a `History` unless the user has one."""
    callbacks = keras.tree.flatten(request.callbacks or [])
    has_history = any(isinstance(c, keras.callbacks.History) for c in callbacks)
    return keras.callbacks.CallbackList(
        callbacks if has_history else [*callbacks, History()],
        verbose=request.verbose,
        epochs=request.epochs,
        steps=1,
        method=request.method,
        title=MINIMIZERS[request.method].TITLE,
        model=request.model,
    )


def _run_chunks(
    problem: FitProblem,
    run: OptimizationRun,
    resumable: ResumableFit | None,
    callbacks: keras.callbacks.CallbackList,
    compute_logs: Callable[[float], dict[str, float]],
    progress: Progress,
) -> dict[str, float]:
    """Runs chunks of iterations, with callbacks and checkpoints, and returns the last logs."""
    request, model, resample = problem.request, problem.model, problem.request.resample
    num_iterations = request.num_iterations
    interval = resample.every if resample else math.inf
    seconds = math.inf if request.max_seconds is None else request.max_seconds
    deadline = time.monotonic() + seconds
    logs: dict[str, float] = {}

    def follow_changes() -> None:
        # A callback may have set weights.
        if problem.was_changed():
            run.restart_at(problem.start())

    run.stop_if(run.is_at_target, Status.TARGET)
    # A run that ends at its start is logged once, so that its history has an entry.
    while not model.history.epoch or (run.status is None and run.nit < num_iterations):
        next_draw = (run.nit // interval + 1) * interval
        chunk_end = int(min(run.nit + request.chunk, num_iterations, next_draw))
        epoch = request.initial_epoch + chunk_end - 1
        callbacks.on_epoch_begin(epoch)
        callbacks.on_train_batch_begin(0)
        follow_changes()
        if resample and run.nit > 0 and run.nit % interval == 0:
            dtype = problem.objective.dtype
            problem.replace_points(
                resample.drawn(problem.fitted_model, problem.points, run.nit, dtype)
            )
            run.continue_on_new_points()
        run.advance(chunk_end)
        callbacks.on_train_batch_end(0, {"loss": run.best.fun})
        logs = compute_logs(run.best.fun)
        callbacks.on_epoch_end(epoch, logs)
        progress.update(run, logs)
        follow_changes()
        # No checkpoint is needed before the first iteration.
        if resumable and run.nit > 0:
            resumable.save(run, model.history)
        is_late = time.monotonic() > deadline
        is_stopped, is_late = problem.on_any_worker(model.stop_training, is_late)
        run.stop_if(is_stopped, Status.STOPPED)
        run.stop_if(run.is_at_target, Status.TARGET)
        run.stop_if(is_late, Status.TIME_LIMIT)
    return logs
