"""The iterations of a minimizer, with restarts, and their result."""

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.minimizers.line_search import LOSS_ROUNDINGS, ROUNDING
from keras_smooth.lbfgs.result import SUCCESSES, OptimizeResult, Status
from keras_smooth.lbfgs.run.fit_problem import FitProblem
from keras_smooth.lbfgs.run.program import ScaledData

# What is computed from rounded weights is rounded as well. In float32 the rounding of a steep
# direction may hide the slope along a flat one, as in problem 10 of More, Garbow and Hillstrom.
_ROUNDINGS = {"float64": 10.0, "float32": 1.0}


class Best(NamedTuple):
    """The point with the lowest loss so far."""

    position: tf.Tensor
    fun: float
    grad_norm: float


class Sizes(NamedTuple):
    """How large loss and gradient are at the start of a run.

    Args:
        loss: Absolute value.
        gradient: Largest absolute entry.
    """

    loss: float
    gradient: float

    def scale(self, dtype: str) -> float:
        """Returns what brings the gradient to a size of 1.

        A power of 4, which rounds nothing, and neither does its root.
        """
        if not 0.0 < self.gradient < math.inf:
            return 1.0
        # In (g / 4, g], but no number that a processor may take for 0.
        exponent = (math.frexp(self.gradient)[1] - 1) // 2 * 2
        return max(math.ldexp(1.0, exponent), float(np.finfo(dtype).tiny))


class OptimizationRun:
    """The iterations of a minimizer from a start, with restarts, and their result.

    Args:
        problem: Its minimizer, and its data, which may move. It gets the best position after every
            chunk of iterations. Of its request `tolerance`, `target` and `max_restarts` count here.
        position: Start, `(n,)`.

    The minimizer works on loss and gradient in units of `_scale`, so that losses of any size are
    minimized by the same steps.
    """

    def __init__(self, problem: FitProblem, position: tf.Tensor):
        self._problem, self._request = problem, problem.request
        self._minimize = problem.program.minimize
        self._finished = [0, 1]
        # The iterations at which a failed line search was restarted.
        self.restarts: list[int] = []
        self.status: Status | None = None
        self._dtype = position.dtype.name
        unscaled = ScaledData(problem.data, tf.ones((), position.dtype))
        begun = self._minimize("begin", position, unscaled)
        loss, gradient = float(begun.objective_value), _largest(begun.objective_gradient)
        # A dense memory does not fit twice.
        del begun
        self._start = Sizes(abs(loss), gradient)
        self.state: Any = self._minimize("begin", position, self._data)
        self._look()

    @property
    def nit(self) -> int:
        return self._finished[0] + int(self.state.num_iterations)

    @property
    def nfev(self) -> int:
        return self._finished[1] + int(self.state.num_objective_evaluations)

    @property
    def is_at_target(self) -> bool:
        """Whether the lowest loss is at the target."""
        target, unit = self._request.target, self._unit(self._start.loss)
        return target is not None and self.best.fun <= target * unit

    @property
    def _tolerance(self) -> float:
        return self._request.tolerance * self._unit(self._start.gradient)

    def _unit(self, size: float) -> float:
        return size if self._request.relative else 1.0

    @property
    def _scale(self) -> float:
        return self._start.scale(self._dtype)

    @property
    def _data(self) -> ScaledData:
        return ScaledData(self._problem.data, tf.constant(self._scale, self._dtype))

    def advance(self, nit: int) -> None:
        """Iterates until `self.nit == nit` or the end; assigns the best position."""
        while self.status is None and self.nit < nit:
            before = self.state
            tolerance = self._tolerance / self._scale
            self.state = self._minimize(
                "advance", before, nit - self.nit, tolerance, self._data
            )
            self._keep_best()
            self._judge(before)
        self._problem.assign(self.best.position)

    def move(self) -> None:
        """Continues from the best position with moved data, and the part of the memory that fits."""
        self._go_on(self._minimize("move", self.state, self.best.position, self._data))

    def jump(self, position: tf.Tensor) -> None:
        """Continues from another position with an empty memory, also after an end."""
        self._go_on(self._minimize("begin", position, self._data))

    def interrupt(self) -> None:
        """Ends the run; assigns the best position."""
        self._problem.assign(self.best.position)
        self.status = Status.INTERRUPTED

    def stop_if(self, condition: bool, status: Status) -> None:
        """Ends the run, unless it has ended for another reason."""
        if condition and self.status is None:
            self.status = status

    def result(self) -> OptimizeResult:
        """Returns the result of the run."""
        status = Status.ITERATION_LIMIT if self.status is None else self.status
        message = status.in_dtype(self._dtype)
        if self.restarts:
            places = ", ".join(map(str, self.restarts))
            message = (
                f"The line search died at iteration {places} and started again with empty "
                f"memory. {message}"
            )
        return OptimizeResult(
            success=status in SUCCESSES,
            status=int(status),
            message=message,
            fun=self.best.fun,
            grad_norm=self.best.grad_norm,
            nit=self.nit,
            nfev=self.nfev,
            restarts=len(self.restarts),
        )

    def snapshot(self) -> dict[str, Any]:
        """Returns the state of a run by name, of which NumPy makes arrays."""
        return {
            **{f"state_{i}": each for i, each in enumerate(tf.nest.flatten(self.state))},
            "best_position": self.best.position,
            "best": [self.best.fun, self.best.grad_norm],
            # The name is the same in checkpoints of all versions.
            "deaths": np.array(self.restarts, dtype=int),
            "finished": self._finished,
            "sizes": self._start,
            "status": -1 if self.status is None else int(self.status),
        }

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Continues from a snapshot of a run, without the memory of an "old" minimizer."""
        position = tf.constant(snapshot["best_position"], self._dtype)
        self.best = Best(position, *map(float, snapshot["best"]))
        self.restarts = snapshot["deaths"].tolist()
        self._finished = snapshot["finished"].tolist()
        if "old" in snapshot:
            # The third and fourth of a state, whatever the minimizer.
            before = (int(snapshot["state_2"]), int(snapshot["state_3"]))
            self._finished = [a + b for a, b in zip(self._finished, before)]
        else:
            saved = [
                tf.ensure_shape(tf.constant(snapshot[f"state_{i}"], each.dtype), each.shape)
                for i, each in enumerate(tf.nest.flatten(self.state))
            ]
            self.state = tf.nest.pack_sequence_as(self.state, saved)
            self._start = Sizes(*map(float, snapshot["sizes"]))
        status = int(snapshot["status"])
        self.status = None if status < 0 else Status(status)  # type: ignore[call-arg]
        # A finished descent goes on where it now may: to a lower tolerance.
        if self.status is Status.TOLERANCE and self.best.grad_norm > self._tolerance:
            self.status = None
            self.state = self.state._replace(converged=tf.constant(False))

    def _go_on(self, state: Any) -> None:
        """Continues from a state of one more evaluation, also after an end."""
        nit, nfev = self.nit, self.nfev + 1
        self.state, self._finished = state, [0, 0]
        self._finished = [nit - self.nit, nfev - self.nfev]
        self.status = None
        self._look()

    def _look(self) -> None:
        """Records the best position, and ends the run if nothing is left to do."""
        self.best = self._point()
        if not math.isfinite(self.best.fun) or not math.isfinite(self.best.grad_norm):
            self.status = Status.NON_FINITE
        elif self.best.grad_norm <= self._tolerance:
            self.status = Status.TOLERANCE

    def _keep_best(self) -> None:
        latest = self._point()
        finite = np.all(np.isfinite(latest.position)) and math.isfinite(latest.grad_norm)
        rounding = LOSS_ROUNDINGS * float(np.finfo(self._dtype).eps) * abs(self.best.fun)
        is_flatter = latest.grad_norm < self.best.grad_norm
        if finite and latest.fun <= self.best.fun + (rounding if is_flatter else 0.0):
            self.best = latest

    def _judge(self, before: Any) -> None:
        """Determines the status: tolerance reached, line search failed or stalled."""
        if self.best.grad_norm <= self._tolerance:
            self.status = Status.TOLERANCE
            return
        stalled = bool(tf.reduce_all(self.state.position == before.position))
        if not (self.state.failed or self.state.converged or stalled):
            return
        if self._began_at_rounding():
            self.status = Status.ROUNDING
            return
        empty = int(self.state.num_iterations) == 0
        if empty or len(self.restarts) >= self._request.max_restarts:
            self.status = self._cause(stalled and not self.state.failed)
        else:
            self.restarts.append(self.nit)
            self._finished = [self.nit, self.nfev]
            self.state = self._minimize("begin", self.best.position, self._data)

    def _began_at_rounding(self) -> bool:
        """Returns whether the loss has not become lower, and rounding is all of the gradient.

        The gradient is that if it is no larger than what rounding of the weights changes in it.
        """
        lowered = self._start.loss - self.best.fun
        if not abs(lowered) <= ROUNDING * self._start.loss:
            return False
        signs = np.random.default_rng(0).choice([-1.0, 1.0], self.best.position.shape)
        rounded = 1.0 + float(np.finfo(self._dtype).eps) * signs
        rounded = self.best.position * tf.constant(rounded, self._dtype)
        gradients = [self._evaluated(p)[1] for p in (self.best.position, rounded)]
        change = _largest(gradients[1] - gradients[0])
        return _largest(gradients[0]) <= _ROUNDINGS[self._dtype] * change

    def _cause(self, stalled: bool) -> Status:
        if self._minimize("sees_non_finite", self.best.position, self._data):
            return Status.NON_FINITE
        # It may differ from call to call, by more than rounding.
        losses = [float(self._evaluated(self.best.position)[0]) for _ in range(2)]
        if not math.isclose(*losses, rel_tol=math.sqrt(np.finfo(self._dtype).eps)):
            return Status.RANDOM
        return Status.STALLED if stalled else Status.LINE_SEARCH

    def _evaluated(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns loss and gradient in units of the scale; the memory beside them is dropped."""
        state = self._minimize("begin", position, self._data)
        return state.objective_value, state.objective_gradient

    def _point(self) -> Best:
        state, scale = self.state, self._scale
        grad_norm = _largest(state.objective_gradient)
        return Best(state.position, scale * float(state.objective_value), scale * grad_norm)


def _largest(gradient: tf.Tensor) -> float:
    return float(tf.reduce_max(tf.abs(gradient)))
