"""Lines through the inputs of a layer, along which it is a function of one variable."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import copying
from keras_smooth.auditing import probing
from keras_smooth.auditing.probing import Finding

SEED = 1
# Points where the pieces of common activations meet, and points between them.
JOINTS = (-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, -2.31, -0.37, 0.63, 1.72)
REACH = 8.0
# Images are cut to so many pixels a side, if the layer takes that.
SIDE = 8
# How far a float64 copy may lie from the layer, by the layer's dtype.
AGREEMENT = {"float64": 1e-6, "float32": 1e-2, "float16": 0.1, "bfloat16": 0.3}


@dataclasses.dataclass(frozen=True)
class Line:
    """Points base + t * direction.

    Args:
        base: Start of the line, from the value that reached the layer.
        direction: From the same value and a random generator.
        points: Values of t at which derivatives are checked.
        reach: How far to look for jumps from t = 0; 0 for not at all.
    """

    base: Callable[[np.ndarray], np.ndarray]
    direction: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    points: tuple[float, ...]
    reach: float = 0.0


def _spread(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # At a start at which signals die out, the spread is too small to see a curvature.
    return rng.normal(size=value.shape) * max(value.std(), 0.01)


def _normal(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=value.shape)


GENERIC = Line(np.array, _spread, (0.0, 0.31), 3.0)
# Where signals die out on the way to a layer, its faults show at values of size 1 only.
UNIT = Line(
    lambda value: np.random.default_rng(SEED + 1).normal(size=value.shape), _normal, (0.0,)
)
ZERO = Line(np.zeros_like, _normal, (0.0,))
TIES = Line(lambda value: np.full_like(value, 0.7), _normal, (0.0,))
ALL_JOINTS = Line(np.zeros_like, lambda value, rng: np.ones_like(value), JOINTS, REACH)


def findings(
    part: keras.Operation,
    call: copying.Call,
    order: int,
    briefly: bool = False,
    modes: tuple[str, ...] = ("inference", "training"),
) -> Iterator[tuple[str, Finding]]:
    """Yields mode and finding of a layer or model, as measured along lines.

    Args:
        part: The layer, model or operation.
        call: A call of it.
        order: The highest order.
        briefly: Whether few points must do.
        modes: The modes to look at.
    """
    if not any(map(copying.is_float, keras.tree.flatten(call.arguments()))):
        yield "inference", Finding("none", 1, math.nan, "its inputs are not floats")
        return
    try:
        probe = Probe.of(part, call)
    except copying.CannotCopy as error:
        yield "inference", Finding("unknown", reason=str(error))
        return
    for mode in modes:
        training = mode == "training"
        if not training or probe.differs_in_training():
            yield mode, _along_lines(probe, training, order, briefly)


def _along_lines(probe: "Probe", training: bool, order: int, briefly: bool) -> Finding:
    together = not training and probe.takes_samples_together()
    found = []
    for line in _lines(probe, together, briefly):
        evaluate = probe.along(line, training, together, order)
        few = briefly or not together
        points = np.array(line.points[:1] if few else line.points)
        steps = probing.FEW_STEPS if few else probing.STEPS
        try:
            found.append(probing.check(evaluate, points, order, steps))
            if together and line.reach and not briefly:
                found.append(probing.seek_jumps(evaluate, -line.reach, line.reach, order))
        # The layer itself may raise, say for a batch of its size.
        except Exception as error:
            found.append(Finding("unknown", reason=copying.brief(error)))
    return probing.worst(found)


def _lines(probe: "Probe", together: bool, briefly: bool) -> tuple[Line, ...]:
    if briefly:
        return (GENERIC,)
    if not together:
        return (GENERIC, UNIT)
    if getattr(probe.copy, "weights", None):
        return (GENERIC, UNIT, ZERO, TIES)
    return (GENERIC, UNIT, ZERO, TIES, ALL_JOINTS)


class Probe:
    """A float64 copy of a layer as a function along a line.

    Args:
        copy: The copy.
        call: A call of it: arguments in float64, and its output.
    """

    def __init__(self, copy: keras.Operation, call: copying.Call):
        self.copy = copy
        self.call = call
        self.leaves = keras.tree.flatten(call.arguments())
        self.batch = next(leaf.shape[0] for leaf in self.leaves if copying.is_float(leaf))

    @functools.cached_property
    def rounding(self) -> float:
        """The rounding error of the copy, whatever the dtype of its output says."""
        # Not the values that came in: those of a float32 model have few digits.
        args, kwargs = keras.tree.map_structure(
            lambda leaf: leaf * (1 + 1e-3 / 3) if copying.is_float(leaf) else leaf,
            self.call.arguments(),
        )
        return _rounding(self._output(args, kwargs))

    @classmethod
    def of(cls, part: keras.Operation, call: copying.Call) -> "Probe":
        """Returns the probe of a part.

        Raises:
            CannotCopy: If there is no copy, or it computes something else.
        """
        kwargs = {key: value for key, value in call.kwargs.items() if key != "training"}
        args, kwargs = copying.to_float64((call.args, kwargs))
        copy = copying.float64_copy(part, args, kwargs)
        try:
            output = copying.run(copy, *args, **kwargs)
        except Exception as error:
            raise copying.CannotCopy(f"in float64, {copying.brief(error)}") from error
        if _distance(output, call.output) > _allowed(call.output):
            raise copying.CannotCopy(
                "its copy, built from its config, computes another value"
            )
        small_args, small_kwargs = keras.tree.map_structure(_cut, (args, kwargs))
        try:
            small = copying.run(copy, *small_args, **small_kwargs)
        # Layers whose weights or arguments fix the size of an image stay at full size.
        except Exception:
            return cls(copy, copying.Call(args, kwargs, output))
        return cls(copy, copying.Call(small_args, small_kwargs, small))

    def differs_in_training(self) -> bool:
        if not isinstance(self.copy, keras.layers.Layer):
            return False
        try:
            trained = self._output(*self.call.arguments(), training=True)
        # A layer that cannot run in training mode has no derivatives to look at there.
        except Exception:
            return False
        return not _distance(trained, self.call.output) <= 1e-9

    def takes_samples_together(self) -> bool:
        """Returns whether samples are independent, so that a batch holds many points."""
        base = [self._arrays(GENERIC)[0], [None] * len(self.leaves)]
        try:
            alone = self._output(
                *self._batched(base[0], base[0], tf.zeros([2], tf.float64))
            )
            other = self._output(
                *self._batched(base[0], base[0], tf.constant([0.0, 1.0], tf.float64))
            )
        except Exception:
            return False
        first = [_row(structure) for structure in (self.call.output, alone, other)]
        return all(_distance(first[0], one) <= 1e-9 for one in first[1:])

    def along(self, line: Line, training: bool, together: bool, order: int) -> Callable:
        """Returns the function that maps points t to a `probing.Tower`."""
        base, direction = self._arrays(line)
        curve = self._together if together else self._apart

        def values(t):
            return curve(base, direction, t, training)

        return lambda t: probing.tower(values, t, order, together, self.rounding)

    def _arrays(self, line: Line) -> tuple[list, list]:
        rng = np.random.default_rng(SEED)
        arrays = [leaf.numpy() if copying.is_float(leaf) else None for leaf in self.leaves]
        base = [None if a is None else line.base(a) for a in arrays]
        return base, [None if a is None else line.direction(a, rng) for a in arrays]

    def _together(self, base, direction, t, training):
        args, kwargs = self._batched(base, direction, t)
        return _projected(self._output(args, kwargs, training), keep_batch=True)

    def _batched(self, base: list, direction: list, t: tf.Tensor) -> tuple:
        """Returns arguments whose sample i lies at t[i] on the line of the first sample."""
        size = t.shape[0]

        def leaf(value, start, slope):
            if start is not None:
                shift = tf.reshape(t, (size,) + (1,) * (start.ndim - 1))
                return start[:1] + shift * slope[:1]
            if tf.is_tensor(value) and value.shape.rank and value.shape[0] == self.batch:
                return tf.repeat(value[:1], size, axis=0)
            return value

        moved = list(map(leaf, self.leaves, base, direction))
        return keras.tree.pack_sequence_as(self.call.arguments(), moved)

    def _apart(self, base, direction, t, training):
        moved = [
            value if start is None else start + t[0] * slope
            for value, start, slope in zip(self.leaves, base, direction)
        ]
        args, kwargs = keras.tree.pack_sequence_as(self.call.arguments(), moved)
        return _projected(self._output(args, kwargs, training), keep_batch=False)

    def _output(self, args, kwargs, training: bool = False) -> Any:
        return copying.run(self.copy, *args, training=training, **kwargs)


def _projected(output: Any, keep_batch: bool) -> tf.Tensor:
    """Returns a random combination of all outputs, one a sample or one in all."""
    rng = np.random.default_rng(SEED)
    total = 0.0
    for leaf in filter(copying.is_float, keras.tree.flatten(output)):
        rows = tf.reshape(leaf, (leaf.shape[0] if keep_batch else 1, -1))
        weights = rng.normal(size=rows.shape[1]) / math.sqrt(rows.shape[1])
        total += tf.linalg.matvec(tf.cast(rows, tf.float64), weights)
    return total


def _rounding(output: Any) -> float:
    """Returns the rounding error of values, whatever their dtype says they are."""
    leaves = [leaf.numpy() for leaf in keras.tree.flatten(output) if copying.is_float(leaf)]
    single = any(
        leaf.size and np.any(leaf % 1) and np.all(leaf == leaf.astype("float32"))
        for leaf in leaves
    )
    return float(np.finfo("float32" if single else "float64").eps)


def _row(output: Any) -> list:
    return [leaf[:1] for leaf in keras.tree.flatten(output) if copying.is_float(leaf)]


def _distance(one: Any, other: Any) -> float:
    """Returns the largest difference of two structures, relative to the larger values."""
    largest = 0.0
    for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
        if copying.is_float(a):
            a, b = (np.asarray(tf.cast(value, tf.float64)) for value in (a, b))
            if a.shape != b.shape:
                return math.inf
            scale = max(1e-3, np.abs(a).max(initial=0.0))
            largest = max(largest, np.abs(a - b).max(initial=0.0) / scale)
    return float(largest)


def _allowed(output: Any) -> float:
    dtypes = [
        leaf.dtype.name for leaf in keras.tree.flatten(output) if copying.is_float(leaf)
    ]
    return max((AGREEMENT.get(dtype, 0.3) for dtype in dtypes), default=0.0)


def _cut(leaf: Any) -> Any:
    if not tf.is_tensor(leaf) or leaf.shape.rank < 4:
        return leaf
    middle = (slice(0, SIDE),) * (leaf.shape.rank - 2)
    return leaf[(slice(None), *middle)]
