"""A layer, or its faithful copy in float64, and a call of it as a function along lines."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.auditing import grouped_convolutions, towers
from keras_smooth.auditing.lines import ALL_JOINTS, GENERIC, SEED, UNIT, Line
from keras_smooth.models import agreement, calls, copies, graph, own_call, references
from keras_smooth.models.agreement import distance

# Images are cut to so many pixels a side, if the layer takes that.
SIDE = 8
# Points one by one for which a graph is not worth its making: without a loop, and with one.
PATIENCE = 27
LOOPS_PATIENCE = 9
# Where inference and training are compared.
POINTS = np.linspace(-4.0, 4.0, 33) + 0.0137
# Steps over which rounding to float32 shows, and the part of a value by which it does.
STAIRS, COARSE = 2.5e-8, 2e-9
# More than any rounding: waves shorter than the steps.
WAVES = 1e-5
# The dtype of a rounding error, of those in which derivatives can be held against differences.
_OWN_DTYPES = {2.0**-52: "float64", 2.0**-23: "float32"}


class MeasuredCall:
    """A copy of a layer, and the values of a call at which it is measured.

    The copy computes in float64, or in float32 where TensorFlow has no other kernel. Where
    there is none, the layer itself is measured, which stays as it is.
    What was found about it stays when another call is loaded: its graphs, whether
    samples are independent, whether training differs.

    Args:
        part: The layer, model or operation.
        call: A call of it.
        dtype: In which the copy computes, or the part if it is not copied.
        uncopied: Why the part has no copy, and is measured itself.

    Raises:
        CannotCopy: If there is no copy, or it computes something else.
    """

    def __init__(
        self, part: keras.Operation, call: calls.Call, dtype: str, uncopied: str = ""
    ):
        self.dtype = dtype
        self.uncopied = uncopied
        self._nested = {}
        self._independent = {}
        if uncopied:
            self.copy = part
            self._compiled = False
            self._take(*copies.arguments_in(None, call), call.output)
        else:
            self.copy = copies.copy_in(dtype, part, *copies.arguments_in(dtype, call))
            self._compiled = grouped_convolutions.compile_once(self.copy)
            self.load(part, call)

    @classmethod
    def of(cls, part: keras.Operation, call: calls.Call) -> "MeasuredCall":
        """Returns it in float64, or in float32 if that alone runs.

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

    @classmethod
    def itself(
        cls, part: keras.Operation, call: calls.Call, error: copies.CannotCopy
    ) -> "MeasuredCall":
        """Returns it for the part itself.

        Raises:
            CannotCopy: The error of copying it, if it computes in less than float32, or
                differently at each call.
        """
        rounding = agreement.epsilon(part, call.output)
        if rounding not in _OWN_DTYPES:
            raise error
        made = cls(part, call, _OWN_DTYPES[rounding], uncopied=str(error))
        again = made.output(*copies.arguments_in(None, call))
        if not distance(again, call.output) <= agreement.ROUNDINGS * rounding:
            raise error
        return made

    def load(self, part: keras.Operation, call: calls.Call) -> None:
        """Takes the state of a part and the values of a call.

        Raises:
            CannotCopy: If the copy computes something else with them.
        """
        output = copies.fill_and_compare(part, self.copy, self.dtype, call)
        self._take(*copies.arguments_in(self.dtype, call), output)

    def _take(self, args: tuple, kwargs: dict, output: Any) -> None:
        self.call = self._small(args, kwargs) or calls.Call(args, kwargs, output)
        self.leaves = keras.tree.flatten(self.call.arguments())
        self.batch = next(leaf.shape[0] for leaf in self.leaves if calls.is_float(leaf))

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
        single, rounding = float(np.finfo("float32").eps), self._rounding_of_output
        return single if rounding < single and self._has_stairs() else rounding

    @functools.cached_property
    def _rounding_of_output(self) -> float:
        if self.dtype == "float32":
            return float(np.finfo("float32").eps)
        # Not the values that came in: those of a float32 model have few digits.
        args, kwargs = keras.tree.map_structure(
            lambda leaf: leaf * (1 + 1e-3 / 3) if calls.is_float(leaf) else leaf,
            self.call.arguments(),
        )
        return _rounding(self.output(args, kwargs))

    def _has_stairs(self) -> bool:
        """Returns whether something within computes in float32, and its output in float64.

        Over steps shorter than those between numbers of float32, fourth differences of a
        function are its roundings.
        """
        t = STAIRS * np.arange(12.0)
        try:
            base, direction = self.through(GENERIC)
            together = self.takes_samples_together(False)
            values = (self.values if together else self.values_apart)(
                base, direction, t, False
            )
        # What fails here is seen where it is measured.
        except Exception:
            return False
        noise, size = np.abs(np.diff(values, 4)).max(), np.abs(values).max()
        # A rounding of the inputs in float64 moves a steep function more.
        pairs = [(b, d) for b, d in zip(base, direction) if b is not None and np.any(d)]
        length = max((np.abs(b).max() / np.abs(d).max() for b, d in pairs), default=0.0)
        slope = np.abs(values[-1] - values[0]) / t[-1]
        return bool(COARSE * max(size, slope * length) < noise < WAVES * size)

    @functools.cached_property
    def modes(self) -> tuple[str, ...]:
        """The modes in which it computes something of its own."""
        differs = _takes_training(self.copy) and self._differs_in_training()
        return ("inference", "training") if differs else ("inference",)

    def _differs_in_training(self) -> bool:
        arguments = [self.call.arguments()]
        if self.takes_samples_together(False):
            t = tf.constant(POINTS)
            curves = [self.through(line) for line in (GENERIC, UNIT, ALL_JOINTS)]
            arguments += [self.batched(*curve, t) for curve in curves]
        return any(map(self._differs_at, arguments))

    def _differs_at(self, arguments: tuple[tuple, dict]) -> bool:
        try:
            outputs = [self.output(*arguments, training) for training in (True, False)]
        # A layer that cannot run in training mode has no derivatives to look at there.
        except Exception:
            return False
        return not distance(*outputs) <= 1e-9

    def takes_samples_together(self, training: bool) -> bool:
        """Whether samples are independent, so that a batch holds many points."""
        if training not in self._independent:
            # A rare coin falls alike in a few samples, and not in more of them.
            draws = training and _draws(self.copy)
            self._independent[training] = not draws and self._has_independent_samples(
                training
            )
        return self._independent[training]

    def _has_independent_samples(self, training: bool) -> bool:
        # One sample only: as many as there are points would count as one for each point.
        base = [None if value is None else value[:1] for value in self._values()]
        tolerance = max(1e-9, 100 * self._rounding_of_output)
        # Noise is another one in other samples, but a coin may fall alike a few times.
        size = len(POINTS) if training else 2
        try:
            alone, other = (
                self.output(*self.batched(base, base, tf.constant(t, tf.float64)), training)
                for t in (np.zeros(size), np.eye(size)[-1])
            )
        except Exception:
            return False
        rows = [_row(alone, i) for i in range(size)] + [_row(other, 0)]
        rows += [] if training else [_row(self.call.output, 0)]
        return all(distance(rows[0], one) <= tolerance for one in rows[1:])

    def through(self, line: Line) -> tuple[list, list]:
        """Returns base and direction of a line for each leaf, None for what is no float.

        What a layer that makes masks may leave out, its zeros, stays as it is.
        """
        base, direction = line.through(self._values())
        if graph.makes_masks(self.copy):
            pairs = zip(base, direction)
            direction = [None if b is None else np.where(b == 0, 0.0, d) for b, d in pairs]
        return base, direction

    def values(
        self, base: list, direction: list, t: np.ndarray, training: bool
    ) -> np.ndarray:
        """Returns the curve itself at the points t, for independent samples."""
        size = len(t)
        if self._compiled:
            base, direction, t = grouped_convolutions.filled_up(base, direction, t)
        return self._together(tf.constant(t), base, direction, training).numpy()[:size]

    def tower(
        self, base: list, direction: list, t: np.ndarray, order: int, training: bool
    ) -> towers.Tower:
        """Returns derivatives at the points t, for independent samples.

        Args:
            base: For each leaf, an array of one sample, or of one sample a point.
            direction: The same.
            t: Points, an array of one axis.
            order: The highest order.
            training: Whether in training mode.
        """
        size = len(t)
        if self._compiled:
            base, direction, t = grouped_convolutions.filled_up(base, direction, t)
        curve = self.curve(base, direction, training)
        row = towers.curve_derivatives(curve, tf.constant(t), order)
        found = towers.tower([(len(t), row)], self.rounding)
        return dataclasses.replace(found, values=found.values[:, :size])

    def curve(self, base: list, direction: list, training: bool) -> Callable:
        """Returns the curve as a function of points, of one point if samples are not independent."""
        if self.takes_samples_together(training):
            return functools.partial(
                self._together, base=base, direction=direction, training=training
            )
        arrays = self._arrays(base, direction)
        return functools.partial(self._apart, arrays=arrays, training=training)

    def values_apart(
        self, base: list, direction: list, t: np.ndarray, training: bool
    ) -> np.ndarray:
        """Returns the curve itself at the points t, with the whole batch on the line."""
        arrays = self._arrays(base, direction)
        points = tf.split(tf.constant(t), len(t))
        return np.concatenate([self._apart(point, arrays, training) for point in points])

    def _arrays(self, base: list, direction: list) -> list:
        """Returns what a graph of one point takes beside it."""
        others = [
            None if calls.is_float(leaf) or not tf.is_tensor(leaf) else leaf
            for leaf in self.leaves
        ]
        lines = [
            [None if a is None else tf.constant(a) for a in part]
            for part in (base, direction)
        ]
        return [*lines, others]

    def tower_apart(
        self, base: list, direction: list, t: np.ndarray, order: int, training: bool
    ) -> towers.Tower:
        """Returns derivatives at the points t, with the whole batch on the line."""
        if (order, training) not in self._nested:
            curve = functools.partial(self._apart, training=training)
            patience = LOOPS_PATIENCE if self._has_loop() else PATIENCE
            self._nested[order, training] = towers.NestedOneByOne(curve, order, patience)
        arrays = self._arrays(base, direction)
        rows = self._nested[order, training](np.split(t, len(t)), arrays)
        return towers.tower(rows, self.rounding)

    def _has_loop(self) -> bool:
        return any(
            isinstance(each, keras.layers.RNN)
            for each in references.parts_within(self.copy)
        )

    def _values(self) -> list:
        return [leaf.numpy() if calls.is_float(leaf) else None for leaf in self.leaves]

    def _together(self, t, base, direction, training):
        args, kwargs = self.batched(base, direction, t)
        return projected(self.output(args, kwargs, training), keep_batch=True)

    def batched(self, base: list, direction: list, t: tf.Tensor) -> tuple[tuple, dict]:
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
        return projected(self.output(args, kwargs, training), keep_batch=False)

    def output(self, args: tuple, kwargs: dict, training: bool = False) -> Any:
        """Returns the outputs of the copy."""
        return calls.call_without_trace(self.copy, *args, training=training, **kwargs)


def projected(output: Any, keep_batch: bool) -> tf.Tensor:
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


def _row(output: Any, i: int) -> list:
    return [leaf[i : i + 1] for leaf in keras.tree.flatten(output) if calls.is_float(leaf)]


def _draws(copy: keras.Operation) -> bool:
    """Returns whether a layer may draw random numbers of Keras."""
    found = (vars(part).values() for part in references.parts_within(copy))
    kinds = map(type, itertools.chain.from_iterable(found))
    return any(issubclass(kind, keras.random.SeedGenerator) for kind in kinds)


def _takes_training(copy: keras.Operation) -> bool:
    parts = references.parts_within(copy)
    layers = [part for part in parts if isinstance(part, keras.layers.Layer)]
    return any(own_call.accepts_training(own_call.entry(layer)) for layer in layers)


def _cut(leaf: Any) -> Any:
    if not tf.is_tensor(leaf) or leaf.shape.rank < 4:
        return leaf
    return leaf[(slice(None),) + (slice(0, SIDE),) * (leaf.shape.rank - 2)]


def _shapes(structure: Any) -> list:
    return [leaf.shape for leaf in keras.tree.flatten(structure) if tf.is_tensor(leaf)]
