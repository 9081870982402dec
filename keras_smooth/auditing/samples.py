"""Distances of samples from breakpoints and edges of domains, and jumps of derivatives at these."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.auditing.plan import LayerStep, Plan, Role
from keras_smooth.jet import Jet
from keras_smooth.models.tracing import traced_if_possible
from keras_smooth.operations import rows
from keras_smooth.operations.program import Program

# The number of points on the line from one sample to the next, and of bisections between two.
_NUM_POINTS, _NUM_BISECTIONS = 17, 24
# A distance below this fraction of the largest one on the line counts as 0.
_ZERO = 1e-4
# By the bytes of a number: the distance from a place at which derivatives are compared, and their
# relative error, due to rounding or to the truncated series of a function near 0.
_OFFSETS = {8: (1e-6, 1e-7)}
_DEFAULT_OFFSET = (1e-4, 1e-4)
# A derivative jumps if it changes by more than this multiple of its change on either side.
_JUMP_RATIO = 10.0
_SEED = 2
# If this number of steps does not halve a distance, its minimum is not 0.
_PATIENCE = 6
# The number of distances whose zeros are searched, and the largest number of distances that are
# computed on the line.
_NUM_SEARCHED, _MAX_DISTANCES = 8, 2**17


@dataclasses.dataclass(frozen=True)
class Place:
    """For each sample, one point on a line through it.

    Args:
        x: The inputs at the points.
        direction: The direction of the lines, None for inputs that do not move.
        at_sample: Whether the points are the samples themselves.
        is_zero: Whether a distance from a breakpoint is 0 at one of the points. Otherwise it
            jumps from one sign to the other.
    """

    x: list
    direction: list
    at_sample: bool
    is_zero: bool = True

    def moved(self, t: float) -> list:
        """Returns the inputs x + t * direction."""
        pairs = zip(self.x, self.direction)
        return [x if v is None else x + tf.cast(t, x.dtype) * v for x, v in pairs]


class Samples:
    """Distances from breakpoints and derivatives, at samples and on lines between them.

    Args:
        plan: The plan of the program.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.x = list(plan.traced.x)
        self.moves = plan.traced.moving
        self._distances_along_lines: dict[tuple, Callable] = {}

    @functools.cached_property
    def distances(self) -> dict[int, tf.Tensor]:
        """By `id(operation)`, the vector of the samples' distances from breakpoints or edges."""
        roles = [Role.SETTLED] if not self.plan.traced.training else []
        return self._distances_at((Role.PIECES, *roles, Role.DOMAIN, Role.EQUALITY), self.x)

    @functools.cached_property
    def _distances_beside(self) -> list[dict[int, tf.Tensor]]:
        """The distances from breakpoints at points near the samples, on either side of them."""
        offset, _ = self._offset_and_error
        sides = (self._samples_place.moved(t) for t in (-offset, offset))
        return [self._distances_at([Role.PIECES], x) for x in sides]

    def _distances_at(self, roles: Sequence[Role], x: list) -> dict[int, tf.Tensor]:
        steps = [step for role in roles for step in self.plan.steps if step.role is role]
        return self._distances_in(self.plan.program, steps, x) if steps else {}

    def is_single_point(self, step: LayerStep) -> bool:
        """Returns whether a piece of the operation is only a sample: both sides are another piece.

        An example is r = 0 in `maximum(r**2, 1e-24)`, the guard of a root.
        """
        before, after = (values[id(step.operation)] for values in self._distances_beside)
        before, after, own = map(np.sign, (before, after, self.distances_of(step)))
        return bool(np.any((before == after) & (before != own)))

    def distances_of(self, step: LayerStep) -> np.ndarray:
        """Returns the distances of the samples from the breakpoints of an operation, a vector."""
        return np.asarray(self.distances.get(id(step.operation), np.zeros(0)))

    def _distances_in(
        self, program: Program, steps: Sequence[LayerStep], x: Sequence
    ) -> dict[int, tf.Tensor]:
        """Runs a program at x, and returns the distances of the operations of steps."""
        steps_by_id = {id(step.operation): step for step in steps}
        distances: dict[int, list[tf.Tensor]] = collections.defaultdict(list)

        def watch(operation: tf.Operation, inputs: list) -> None:
            step, row = steps_by_id.get(id(operation)), rows.row(operation.type)
            if step is None or row is None:
                return
            function = row.domain if step.role is Role.DOMAIN else row.breakpoints
            for distance in function(operation, *inputs) if function else ():
                # A complex distance is 0 at the edge of the domain.
                real = tf.abs(distance) if distance.dtype.is_complex else distance
                distances[id(operation)].append(tf.reshape(tf.cast(real, "float64"), [-1]))

        operations.evaluate(program, self.plan.traced.values(list(x)), watch=watch)
        return {key: tf.concat(parts, axis=0) for key, parts in distances.items()}

    def places(self, step: LayerStep) -> Iterator[Place]:
        """Yields places where the pieces of an operation join.

        Their points are the samples, or are on the lines from each sample to another.
        """
        distances = self.distances_of(step)
        if (distances == 0.0).any():
            directions = self._without_masked(self._random_directions())
            yield Place(self.x, directions, at_sample=True)
        if not 0 < len(distances) <= _MAX_DISTANCES or self.x[0].shape[0] < 2:
            return
        along = self._along_lines(step.role, _is_in_body(step))
        for t, is_zero in _sign_changes(lambda t: along(t)[id(step.operation)]):
            start = self._start_of_lines
            yield dataclasses.replace(start, x=start.moved(t), is_zero=is_zero)

    @functools.cached_property
    def _start_of_lines(self) -> Place:
        """The samples, with the direction from each to another sample."""
        moving = self._moving_inputs()
        lines = [None if x is None else tf.roll(x, 1, axis=0) - x for x in moving]
        return Place(self.x, self._without_masked(lines), at_sample=False)

    def _along_lines(
        self, role: Role | None, in_body: bool
    ) -> Callable[[float], dict[int, np.ndarray]]:
        """Returns a function of t: the distances of all operations of one role on the lines.

        A run for one operation costs nearly as much as a run for all, and tracing far more. So all
        operations share one run for each t. Operations in loops and branches run without a
        graph, since their tensors are not in the graph of the whole program.
        """
        if (role, in_body) not in self._distances_along_lines:
            self._distances_along_lines[role, in_body] = functools.cache(
                self._new_distances_along_lines(role, in_body)
            )
        return self._distances_along_lines[role, in_body]

    def _new_distances_along_lines(self, role: Role | None, in_body: bool) -> Callable:
        steps = [
            step
            for step in self.plan.steps
            if (step.role, _is_in_body(step)) == (role, in_body)
            and len(self.distances_of(step)) <= _MAX_DISTANCES
        ]
        keys = list(dict.fromkeys(id(step.operation) for step in steps))
        program = self.plan.program
        tensors = (tensor for step in steps for tensor in step.top.outputs)
        outputs = dict.fromkeys(map(program.name_of, tensors))
        program = dataclasses.replace(program, outputs=tuple(outputs))

        def distances_at(*x: tf.Tensor) -> list[tf.Tensor]:
            distances = self._distances_in(program, steps, x)
            # An operation in a branch that did not run has no distances.
            return [distances.get(key, tf.zeros([0], "float64")) for key in keys]

        start = self._start_of_lines
        run = traced_if_possible(distances_at, *start.x)
        return lambda t: dict(zip(keys, map(np.asarray, run(*start.moved(t)))))

    def _moving_inputs(self) -> list:
        return [x if moves else None for x, moves in zip(self.x, self.moves)]

    def _random_directions(self) -> list:
        def draw(x: Any) -> Any:
            return tf.cast(np.random.default_rng(_SEED).normal(size=x.shape), x.dtype)

        return [None if x is None else draw(x) for x in self._moving_inputs()]

    @functools.cached_property
    def _samples_place(self) -> Place:
        return Place(self.x, self._random_directions(), at_sample=True)

    @functools.cached_property
    def jump_at_samples(self) -> int | None:
        """The lowest order whose derivative at a sample differs from those near it, or None."""
        return self.lowest_jump(self._samples_place)

    @functools.cached_property
    def _offset_and_error(self) -> tuple[float, float]:
        """The distance from a place at which derivatives are compared, and their relative error."""
        sizes = [x.dtype.size for x, moves in zip(self.x, self.moves) if moves]
        # Layers may compute in float32 although the inputs are float64.
        return _OFFSETS.get(min(self.plan.size, *sizes), _DEFAULT_OFFSET)

    def _without_masked(self, directions: list) -> list:
        """Returns directions that do not move zeros, which a mask may remove."""
        if not self.plan.has_masks:
            return directions
        pairs = zip(directions, self.x)
        return [v if v is None else tf.where(x == 0, tf.zeros_like(v), v) for v, x in pairs]

    def lowest_jump(self, place: Place) -> int | None:
        """Returns the lowest order of a derivative that jumps at a place, or None.

        Raises:
            ValueError: If Taylor mode does not have the derivatives.
        """
        width, rounding = self._offset_and_error
        sides = [self._derivatives(place, n * width) for n in (-2, -1, 1, 2)]
        middle = self._derivatives(place, 0.0) if place.at_sample else None
        for k in range(self.plan.order + 1):
            left, before, after, right = (side[k] for side in sides)
            scale = max(np.abs(side[k]).max(initial=0.0) for side in sides)
            change = np.maximum(np.abs(before - left), np.abs(right - after))
            limit = _JUMP_RATIO * change + rounding * scale
            jumps = [np.abs(after - before)]
            if middle is not None:
                jumps.append(np.abs(middle[k] - (before + after) / 2))
            with np.errstate(invalid="ignore"):
                if not all(np.all(jump <= limit) for jump in jumps):
                    return k
        return None

    def _derivatives(self, place: Place, t: float) -> list[np.ndarray]:
        """Returns y and its derivatives at t along the direction, each as a flat array."""
        entries = self._derivatives_of(place.moved(t), place.direction)
        return [np.concatenate([np.ravel(_array(y)) for y in entry]) for entry in entries]

    @functools.cached_property
    def _derivatives_of(self) -> Callable:
        """A function of inputs and a direction that returns y and its derivatives."""
        order = self.plan.order

        def run(x: list, direction: list) -> list[list[tf.Tensor]]:
            pairs, zeros = zip(x, direction), [None] * (order - 1)
            jets = [x if v is None else Jet(x, [v[None], *zeros]) for x, v in pairs]
            outputs = operations.evaluate(self.plan.program, self.plan.traced.values(jets))
            return [[_entry(y, k) for y in outputs] for k in range(order + 1)]

        return traced_if_possible(run, self.x, self._random_directions())


def _is_in_body(step: LayerStep) -> bool:
    """Returns whether an operation is in a loop or a branch."""
    kinds = (operation.type for operation in step.enclosing)
    return any(name in kind for kind in kinds for name in ("While", "If", "Case"))


def _entry(y: Any, k: int) -> tf.Tensor:
    if not isinstance(y, Jet):
        return y if k == 0 else tf.zeros_like(y)
    return y.primal if k == 0 else y.entry(k)


def _array(value: tf.Tensor) -> np.ndarray:
    return tf.cast(value, "complex128" if value.dtype.is_complex else "float64").numpy()


def _sign_changes(along: Callable[[float], np.ndarray]) -> Iterator[tuple[float, bool]]:
    """Yields t in [0, 1] where a distance is 0 or changes sign, and whether it is 0 there.

    A distance jumps to the other sign if it is from the nearest of several breakpoints, or if its
    numbers jump. An operation in a loop has distances for each iteration. The points where the
    number of iterations changes are yielded as well, as zeros.
    """
    at = np.linspace(0.0, 1.0, _NUM_POINTS)
    measured = [along(t) for t in at]
    lengths = [len(distances) for distances in measured]
    for before, after, low, high in zip(lengths, lengths[1:], at, at[1:]):
        if before != after:
            yield _change_of_length(along, before, low, high), True
    values = np.stack([distances[: min(lengths)] for distances in measured])
    sizes = np.where(np.isfinite(values), np.abs(values), 0.0).max(axis=0)
    usable = np.isfinite(values).all(axis=0) & (sizes > 0)
    changes = (np.sign(values[1:]) != np.sign(values[:-1])) & usable
    crossings = np.argwhere(changes)
    # Crossings of many distances, since the outputs may not depend on all of them.
    for row, column in crossings[:: 1 + len(crossings) // _NUM_SEARCHED]:
        t = _sign_change(along, column, at[row], at[row + 1])
        yield t, abs(along(t)[column]) <= _ZERO * sizes[column]
    # Zeros without a change of sign, such as those of an absolute value.
    rows = 1 + np.argmin(np.abs(values[1:-1]), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        least = np.abs(values[rows, np.arange(len(sizes))]) / sizes
    least = np.where(usable & ~changes.any(axis=0), least, np.inf)
    for column in np.argsort(least)[:_NUM_SEARCHED]:
        row = rows[column]
        if np.isfinite(least[column]):
            t = _minimum(along, column, at[row - 1], at[row + 1])
            if abs(along(t)[column]) <= _ZERO * sizes[column]:
                yield t, True


def _sign_change(along: Callable, column: int, low: float, high: float) -> float:
    sign = np.sign(along(low)[column])
    return _bisect(lambda t: np.sign(along(t)[column]) == sign, low, high)


def _change_of_length(along: Callable, length: int, low: float, high: float) -> float:
    """Returns where the number of distances changes, since a loop has more or fewer iterations."""
    return _bisect(lambda t: len(along(t)) == length, low, high)


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Returns by bisection where a condition ceases to hold. It holds at the lower end only."""
    for _ in range(_NUM_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return (low + high) / 2


def _minimum(along: Callable, column: int, low: float, high: float) -> float:
    """Returns where the absolute value of a function is smallest, by golden-section search.

    The search ends early if the minimum is not 0.
    """
    ratio, least = (np.sqrt(5.0) - 1.0) / 2.0, []
    while len(least) < 2 * _NUM_BISECTIONS:
        first, second = high - ratio * (high - low), low + ratio * (high - low)
        sizes = [abs(along(t)[column]) for t in (first, second)]
        low, high = (low, second) if sizes[0] < sizes[1] else (first, high)
        least.append(min(sizes))
        if len(least) > _PATIENCE and least[-1] > least[-1 - _PATIENCE] / 2:
            break
    return (low + high) / 2
