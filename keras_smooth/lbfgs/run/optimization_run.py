"""The iterations of a fit, with restarts after failed line searches, and their result."""

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.minimizers.line_search import LOSS_ROUNDINGS, ROUNDING
from keras_smooth.lbfgs.result import SUCCESSES, OptimizeResult, Status
from keras_smooth.lbfgs.run.fit_problem import FitProblem
from keras_smooth.lbfgs.run.program import ScaledData

# A gradient is rounding error if it is at most this many times the change that rounding the weights
# makes in it. In float32, rounding along a steep direction may hide the slope along a flat one, as
# in problem 10 of More, Garbow and Hillstrom.
_GRADIENT_ROUNDINGS = {"float64": 10.0, "float32": 1.0}


class Best(NamedTuple):
    """The point with the lowest loss so far."""

    position: tf.Tensor
    fun: float
    grad_norm: float


class Sizes(NamedTuple):
    """The sizes of loss and gradient at the start of a run.

    Args:
        loss: Absolute value of the loss.
        gradient: Largest absolute entry of the gradient.
    """

    loss: float
    gradient: float

    def scale(self, dtype: str) -> float:
        """Returns the unit of loss and gradient in which the gradient is near 1.

        It is a power of 4: dividing by it, or by its square root, is free of rounding.
        """
        if not 0.0 < self.gradient < math.inf:
            return 1.0
        # The unit is in (g / 4, g], but not so small that a processor may replace it by 0.
        exponent = (math.frexp(self.gradient)[1] - 1) // 2 * 2
        return max(math.ldexp(1.0, exponent), float(np.finfo(dtype).tiny))


class OptimizationRun:
    """The iterations of a minimizer from a start, with restarts, and their result.

    The minimizer receives loss and gradient in units of `_scale`, so that losses of any size are
    minimized by the same steps. After each chunk of iterations, the best position is written to the
    model.

    Args:
        problem: The problem, with its minimizer, its data, which may be replaced, and its request,
            of which `tolerance`, `target` and `max_restarts` are used here.
        position: Start, `(n,)`.
    """

    def __init__(self, problem: FitProblem, position: tf.Tensor):
        self._problem, self._request = problem, problem.request
        self._minimize = problem.program.minimize
        # Iterations and evaluations before the current state of the minimizer began.
        self._finished_counts = [0, 1]
        # The iterations at which a failed line search was restarted.
        self.restarts: list[int] = []
        self.status: Status | None = None
        self._dtype = position.dtype.name
        unscaled = ScaledData(problem.data, tf.ones((), position.dtype))
        first = self._minimize("begin", position, unscaled)
        loss, gradient = float(first.objective_value), _largest(first.objective_gradient)
        # Two dense matrices may not fit into memory.
        del first
        self._start = Sizes(abs(loss), gradient)
        self.state: Any = self._minimize("begin", position, self._data)
        self._record_start()

    @property
    def nit(self) -> int:
        return self._finished_counts[0] + int(self.state.num_iterations)

    @property
    def nfev(self) -> int:
        return self._finished_counts[1] + int(self.state.num_objective_evaluations)

    @property
    def is_at_target(self) -> bool:
        """Whether the lowest loss has reached the target."""
        target, unit = self._request.target, self._relative_to(self._start.loss)
        return target is not None and self.best.fun <= target * unit

    @property
    def _tolerance(self) -> float:
        return self._request.tolerance * self._relative_to(self._start.gradient)

    def _relative_to(self, size: float) -> float:
        return size if self._request.relative else 1.0

    @property
    def _scale(self) -> float:
        return self._start.scale(self._dtype)

    @property
    def _data(self) -> ScaledData:
        return ScaledData(self._problem.data, tf.constant(self._scale, self._dtype))

    def advance(self, nit: int) -> None:
        """Iterates until `self.nit == nit` or an end, and writes the best position to the model."""
        while self.status is None and self.nit < nit:
            before = self.state
            tolerance = self._tolerance / self._scale
            self.state = self._minimize(
                "advance", before, nit - self.nit, tolerance, self._data
            )
            self._keep_best()
            self._update_status(before)
        self._problem.assign(self.best.position)

    def continue_on_new_points(self) -> None:
        """Continues from the best position on new data, with the memory that is useful there."""
        self._switch_to(self._minimize("move", self.state, self.best.position, self._data))

    def restart_at(self, position: tf.Tensor) -> None:
        """Continues from another position with an empty memory, also if the run has ended."""
        self._switch_to(self._minimize("begin", position, self._data))

    def interrupt(self) -> None:
        """Ends the run, and writes the best position to the model."""
        self._problem.assign(self.best.position)
        self.status = Status.INTERRUPTED

    def stop_if(self, condition: bool, status: Status) -> None:
        """Ends the run with a status if `condition`, unless it has ended already."""
        if condition and self.status is None:
            self.status = status

    def result(self) -> OptimizeResult:
        """Returns the result of the run."""
        status = Status.ITERATION_LIMIT if self.status is None else self.status
        message = status.in_dtype(self._dtype)
        if self.restarts:
            iterations = ", ".join(map(str, self.restarts))
            message = (
                f"The line search died at iteration {iterations} and started again with empty "
                f"memory. {message}"
            )
        return OptimizeResult(
            success=status in SUCCESSES,
            status=status,
            message=message,
            fun=self.best.fun,
            grad_norm=self.best.grad_norm,
            nit=self.nit,
            nfev=self.nfev,
            restarts=len(self.restarts),
        )

    def snapshot(self) -> dict[str, Any]:
        """Returns the state of the run as a dict of values that NumPy can convert to arrays."""
        return {
            **{f"state_{i}": leaf for i, leaf in enumerate(tf.nest.flatten(self.state))},
            "best_position": self.best.position,
            "best": [self.best.fun, self.best.grad_norm],
            # Checkpoints of all versions have this name for the restarts.
            "deaths": np.array(self.restarts, dtype=int),
            "finished": self._finished_counts,
            "sizes": self._start,
            "status": -1 if self.status is None else int(self.status),
        }

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Restores a snapshot of a run; without its memory if it has the entry "old"."""
        position = tf.constant(snapshot["best_position"], self._dtype)
        self.best = Best(position, *map(float, snapshot["best"]))
        self.restarts = snapshot["deaths"].tolist()
        self._finished_counts = snapshot["finished"].tolist()
        if "old" in snapshot:
            # Entries 2 and 3 of a state are iterations and evaluations, for all minimizers.
            before = (int(snapshot["state_2"]), int(snapshot["state_3"]))
            self._finished_counts = [a + b for a, b in zip(self._finished_counts, before)]
        else:
            saved = [
                tf.ensure_shape(tf.constant(snapshot[f"state_{i}"], leaf.dtype), leaf.shape)
                for i, leaf in enumerate(tf.nest.flatten(self.state))
            ]
            self.state = tf.nest.pack_sequence_as(self.state, saved)
            self._start = Sizes(*map(float, snapshot["sizes"]))
        status = int(snapshot["status"])
        self.status = None if status < 0 else Status(status)  # type: ignore[call-arg]
        # A run that had reached its tolerance continues if the tolerance is lower now.
        if self.status is Status.TOLERANCE and self.best.grad_norm > self._tolerance:
            self.status = None
            self.state = self.state._replace(converged=tf.constant(False))

    def _switch_to(self, state: Any) -> None:
        """Continues from a new state, which took one evaluation, also if the run has ended."""
        nit, nfev = self.nit, self.nfev + 1
        self.state, self._finished_counts = state, [0, 0]
        self._finished_counts = [nit - self.nit, nfev - self.nfev]
        self.status = None
        self._record_start()

    def _record_start(self) -> None:
        """Records the position as the best, and ends the run if it is converged or not finite."""
        self.best = self._latest_point()
        if not math.isfinite(self.best.fun) or not math.isfinite(self.best.grad_norm):
            self.status = Status.NON_FINITE
        elif self.best.grad_norm <= self._tolerance:
            self.status = Status.TOLERANCE

    def _keep_best(self) -> None:
        """Records the latest position if it has a lower loss, or the same and a lower gradient."""
        latest = self._latest_point()
        finite = np.all(np.isfinite(latest.position)) and math.isfinite(latest.grad_norm)
        rounding = LOSS_ROUNDINGS * float(np.finfo(self._dtype).eps) * abs(self.best.fun)
        is_flatter = latest.grad_norm < self.best.grad_norm
        if finite and latest.fun <= self.best.fun + (rounding if is_flatter else 0.0):
            self.best = latest

    def _update_status(self, before: Any) -> None:
        """Ends the run if the tolerance is reached; ends or restarts it if the search failed."""
        if self.best.grad_norm <= self._tolerance:
            self.status = Status.TOLERANCE
            return
        stalled = bool(tf.reduce_all(self.state.position == before.position))
        if not (self.state.failed or self.state.converged or stalled):
            return
        if self._is_at_rounding_level():
            self.status = Status.ROUNDING
            return
        has_empty_memory = int(self.state.num_iterations) == 0
        if has_empty_memory or len(self.restarts) >= self._request.max_restarts:
            self.status = self._cause_of_failure(stalled and not self.state.failed)
        else:
            self.restarts.append(self.nit)
            self._finished_counts = [self.nit, self.nfev]
            self.state = self._minimize("begin", self.best.position, self._data)

    def _is_at_rounding_level(self) -> bool:
        """Returns whether the loss is still that of the start, and the gradient is rounding error.

        The gradient is rounding error if rounding the weights changes it by about its own size.
        """
        lowered = self._start.loss - self.best.fun
        if not abs(lowered) <= ROUNDING * self._start.loss:
            return False
        signs = np.random.default_rng(0).choice([-1.0, 1.0], self.best.position.shape)
        rounded = 1.0 + float(np.finfo(self._dtype).eps) * signs
        rounded = self.best.position * tf.constant(rounded, self._dtype)
        gradients = [self._evaluate(p)[1] for p in (self.best.position, rounded)]
        change = _largest(gradients[1] - gradients[0])
        return _largest(gradients[0]) <= _GRADIENT_ROUNDINGS[self._dtype] * change

    def _cause_of_failure(self, stalled: bool) -> Status:
        """Returns the status of a run that cannot continue."""
        if self._minimize("sees_non_finite", self.best.position, self._data):
            return Status.NON_FINITE
        # A random loss differs from call to call by more than rounding.
        losses = [float(self._evaluate(self.best.position)[0]) for _ in range(2)]
        if not math.isclose(*losses, rel_tol=math.sqrt(np.finfo(self._dtype).eps)):
            return Status.RANDOM
        return Status.STALLED if stalled else Status.LINE_SEARCH

    def _evaluate(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns loss and gradient at a position, in units of the scale."""
        state = self._minimize("begin", position, self._data)
        return state.objective_value, state.objective_gradient

    def _latest_point(self) -> Best:
        state, scale = self.state, self._scale
        grad_norm = _largest(state.objective_gradient)
        return Best(state.position, scale * float(state.objective_value), scale * grad_norm)


def _largest(gradient: tf.Tensor) -> float:
    return float(tf.reduce_max(tf.abs(gradient)))
