"""A copy of a layer in float64, as a function along lines through its inputs."""

import functools
import json
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.auditing import towers
from keras_smooth.models import calls, copies

SEED = 1
# Images are cut to so many pixels a side, if the layer takes that.
SIDE = 8
# How far a float64 copy may lie from the layer, by the layer's dtype.
AGREEMENT = {"float64": 1e-6, "float32": 1e-2, "float16": 0.1, "bfloat16": 0.3}
_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def key(part: keras.Operation, call: calls.Call) -> str | None:
    """Returns what a copy depends on beside weights and values, None if unreadable."""
    if type(part).__name__ == "Lambda":
        return None
    shapes = [
        (tuple(leaf.shape), leaf.dtype.name)
        for leaf in keras.tree.flatten(call.arguments())
        if tf.is_tensor(leaf)
    ]
    try:
        config = {k: v for k, v in part.get_config().items() if k not in ("name", "seed")}
        kind = f"{type(part).__module__}.{type(part).__qualname__}"
        return f"{kind} {id(type(part))} {json.dumps(config)} {shapes}"
    # A part need not have a config, nor one that JSON can hold.
    except Exception:
        return None


class Probe:
    """A copy of a layer, and the values at which it is probed.

    The copy computes in float64, or in float32 where TensorFlow has no other kernel.
    What was found about it stays when other weights are loaded: its graphs, whether
    samples are independent, whether training differs.

    Args:
        part: The layer, model or operation.
        call: A call of it.
        dtype: In which the copy computes.

    Raises:
        CannotCopy: If there is no copy, or it computes something else.
    """

    def __init__(self, part: keras.Operation, call: calls.Call, dtype: str):
        self.dtype = dtype
        self._nested = {}
        args, kwargs = self._arguments(call)
        self.copy = copies.copy_in(dtype, part, args, kwargs)
        self._run = _runner(self.copy)
        self.load(part, call)

    @classmethod
    def of(cls, part: keras.Operation, call: calls.Call) -> "Probe":
        """Returns the probe of a part in float64, or in float32 if that alone runs.

        Raises:
            CannotCopy: If there is none.
        """
        try:
            return cls(part, call, "float64")
        except copies.CannotCopy as error:
            try:
                return cls(part, call, "float32")
            except copies.CannotCopy:
                raise error from None

    def load(self, part: keras.Operation, call: calls.Call) -> None:
        """Takes the weights of a part and the values of a call.

        Raises:
            CannotCopy: If the copy computes something else with them.
        """
        args, kwargs = self._arguments(call)
        try:
            if isinstance(part, keras.layers.Layer):
                self.copy.set_weights(part.get_weights())
            output = self.output(args, kwargs)
        # Whatever a layer's own code raises is the reason.
        except Exception as error:
            raise copies.CannotCopy(f"in {self.dtype}, {copies.brief(error)}") from error
        if not distance(output, call.output) <= _allowed(call.output):
            raise copies.CannotCopy("its copy from its config computes another value")
        self.call = self._small(args, kwargs) or calls.Call(args, kwargs, output)
        self.leaves = keras.tree.flatten(self.call.arguments())
        self.batch = next(leaf.shape[0] for leaf in self.leaves if calls.is_float(leaf))

    def _arguments(self, call: calls.Call) -> tuple[tuple, dict]:
        kwargs = {name: value for name, value in call.kwargs.items() if name != "training"}
        return calls.cast_to(self.dtype, (call.args, kwargs))

    def _small(self, args: tuple, kwargs: dict) -> calls.Call | None:
        """Returns a call on images cut to a few pixels, None where nothing is cut."""
        before = (args, kwargs)
        args, kwargs = keras.tree.map_structure(_cut, before)
        if _shapes((args, kwargs)) == _shapes(before):
            return None
        try:
            return calls.Call(args, kwargs, self.output(args, kwargs))
        # Layers whose weights or arguments fix the size of an image stay at full size.
        except Exception:
            return None

    @functools.cached_property
    def rounding(self) -> float:
        """The rounding error of the copy, whatever the dtype of its output says."""
        if self.dtype == "float32":
            return float(np.finfo("float32").eps)
        # Not the values that came in: those of a float32 model have few digits.
        args, kwargs = keras.tree.map_structure(
            lambda leaf: leaf * (1 + 1e-3 / 3) if calls.is_float(leaf) else leaf,
            self.call.arguments(),
        )
        return _rounding(self.output(args, kwargs))

    @functools.cached_property
    def differs_in_training(self) -> bool:
        if not isinstance(self.copy, keras.layers.Layer):
            return False
        try:
            trained = self.output(*self.call.arguments(), training=True)
        # A layer that cannot run in training mode has no derivatives to look at there.
        except Exception:
            return False
        return not distance(trained, self.call.output) <= 1e-9

    @functools.cached_property
    def takes_samples_together(self) -> bool:
        """Whether samples are independent, so that a batch holds many points."""
        base = [leaf.numpy() if calls.is_float(leaf) else None for leaf in self.leaves]
        tolerance = max(1e-9, 100 * self.rounding)
        try:
            alone, other = (
                self.output(*self._batched(base, base, tf.constant(t, tf.float64)))
                for t in ([0.0, 0.0], [0.0, 1.0])
            )
        except Exception:
            return False
        first = [_row(structure) for structure in (self.call.output, alone, other)]
        return all(distance(first[0], one) <= tolerance for one in first[1:])

    def arrays(self, line) -> tuple[list, list]:
        """Returns base and direction of a line for each leaf, None for what is no float."""
        rng = np.random.default_rng(SEED)
        arrays = [leaf.numpy() if calls.is_float(leaf) else None for leaf in self.leaves]
        base = [None if a is None else line.base(a) for a in arrays]
        return base, [None if a is None else line.direction(a, rng) for a in arrays]

    def values(self, base: list, direction: list, t: np.ndarray) -> np.ndarray:
        """Returns the curve itself at the points t, for independent samples."""
        return self._together(tf.constant(t), base, direction).numpy()

    def tower(self, base: list, direction: list, t: np.ndarray, order: int) -> towers.Tower:
        """Returns derivatives at the points t, for independent samples.

        Args:
            base: For each leaf, an array of one sample, or of one sample a point.
            direction: The same.
            t: Points, an array of one axis.
            order: The highest order.
        """
        curve = functools.partial(self._together, base=base, direction=direction)
        row = towers.nested(curve, tf.constant(t), order)
        return towers.tower([(len(t), row)], self.rounding)

    def tower_apart(
        self, base: list, direction: list, t: np.ndarray, order: int, training: bool
    ) -> towers.Tower:
        """Returns derivatives at the points t, with the whole batch on the line."""
        if (order, training) not in self._nested:
            curve = functools.partial(self._apart, training=training)
            self._nested[order, training] = towers.NestedOneByOne(curve, order)
        arrays = [
            [None if a is None else tf.constant(a) for a in part]
            for part in (base, direction)
        ]
        others = [
            None if calls.is_float(leaf) or not tf.is_tensor(leaf) else leaf
            for leaf in self.leaves
        ]
        rows = self._nested[order, training](np.split(t, len(t)), [*arrays, others])
        return towers.tower(rows, self.rounding)

    def _together(self, t, base, direction):
        args, kwargs = self._batched(base, direction, t)
        return _projected(self.output(args, kwargs), keep_batch=True)

    def _batched(self, base: list, direction: list, t: tf.Tensor) -> tuple:
        """Returns arguments whose sample i lies at t[i] on the line of the first sample."""
        size = t.shape[0]

        def leaf(value, start, slope):
            if start is not None:
                shift = tf.reshape(t, (size,) + (1,) * (start.ndim - 1))
                rows = slice(None) if len(start) == size else slice(1)
                moved = tf.cast(start[rows], tf.float64) + shift * slope[rows]
                return tf.cast(moved, self.dtype)
            if tf.is_tensor(value) and value.shape.rank and value.shape[0] == self.batch:
                return tf.repeat(value[:1], size, axis=0)
            return value

        moved = list(map(leaf, self.leaves, base, direction))
        return keras.tree.pack_sequence_as(self.call.arguments(), moved)

    def _apart(self, t, arrays, training):
        def leaf(value, start, slope, other):
            if start is not None:
                moved = tf.cast(start, tf.float64) + t[0] * tf.cast(slope, tf.float64)
                return tf.cast(moved, self.dtype)
            return value if other is None else other

        moved = list(map(leaf, self.leaves, *arrays))
        args, kwargs = keras.tree.pack_sequence_as(self.call.arguments(), moved)
        return _projected(self.output(args, kwargs, training), keep_batch=False)

    def output(self, args: tuple, kwargs: dict, training: bool = False) -> Any:
        return self._run(args, kwargs, training)


def _runner(copy: keras.Operation) -> Callable:
    """Returns a function of args, kwargs and training that runs a copy.

    Keras compiles a convolution in groups with XLA at every call; in a graph it does so once
    for all calls of these shapes, whatever the weights. A graph may raise at a lower order
    than what it is made of: only bare convolutions, which never raise, become one.
    """

    def run(args, kwargs, training):
        return calls.run(copy, *args, training=training, **kwargs)

    bare = type(copy) in _CONVOLUTIONS and copy.activation is keras.activations.linear
    return tf.function(run, autograph=False) if bare and copy.groups > 1 else run


def _projected(output: Any, keep_batch: bool) -> tf.Tensor:
    """Returns a random combination of all outputs, one a sample or one in all."""
    rng = np.random.default_rng(SEED)
    total = 0.0
    for leaf in filter(calls.is_float, keras.tree.flatten(output)):
        rows = tf.reshape(leaf, (leaf.shape[0] if keep_batch else 1, -1))
        weights = rng.normal(size=rows.shape[1]) / math.sqrt(rows.shape[1])
        total += tf.linalg.matvec(tf.cast(rows, tf.float64), weights)
    return total


def _rounding(output: Any) -> float:
    """Returns the rounding error of values, whatever their dtype says they are."""
    leaves = [leaf.numpy() for leaf in keras.tree.flatten(output) if calls.is_float(leaf)]
    single = any(
        leaf.size and np.any(leaf % 1) and np.all(leaf == leaf.astype("float32"))
        for leaf in leaves
    )
    return float(np.finfo("float32" if single else "float64").eps)


def _row(output: Any) -> list:
    return [leaf[:1] for leaf in keras.tree.flatten(output) if calls.is_float(leaf)]


def distance(one: Any, other: Any) -> float:
    """Returns the largest difference of two structures, relative to the larger values."""
    largest = 0.0
    for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
        if calls.is_float(a):
            a, b = (np.asarray(tf.cast(value, tf.float64)) for value in (a, b))
            if a.shape != b.shape:
                return math.inf
            scale = max(1e-3, np.abs(a).max(initial=0.0))
            largest = max(largest, np.abs(a - b).max(initial=0.0) / scale)
    return float(largest)


def _allowed(output: Any) -> float:
    dtypes = [
        leaf.dtype.name for leaf in keras.tree.flatten(output) if calls.is_float(leaf)
    ]
    return max((AGREEMENT.get(dtype, 0.3) for dtype in dtypes), default=0.0)


def _cut(leaf: Any) -> Any:
    if not tf.is_tensor(leaf) or leaf.shape.rank < 4:
        return leaf
    middle = (slice(0, SIDE),) * (leaf.shape.rank - 2)
    return leaf[(slice(None), *middle)]


def _shapes(structure: Any) -> list:
    return [leaf.shape for leaf in keras.tree.flatten(structure) if tf.is_tensor(leaf)]
