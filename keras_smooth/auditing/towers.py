"""Towers: a function of one variable with its derivatives, as nested tapes give them."""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_smooth.differentiation import tapes


@dataclasses.dataclass(frozen=True)
class Tower:
    """Derivatives 0 to order at the points t, as nested tapes give them.

    Args:
        values: Array of shape `(order + 1, len(t))`, 0 where TensorFlow says None.
        missing: The first order at which TensorFlow says None, else infinity.
        raised: The first order that raises, and the message.
        rounding: Relative rounding error of the values.
    """

    values: np.ndarray
    missing: float
    raised: tuple[float, str]
    rounding: float = np.finfo("float64").eps


def tower(rows: list[tuple[int, list]], rounding: float) -> Tower:
    """Returns the derivatives of a curve from those at parts of the points.

    Args:
        rows: Number of points and what `curve_derivatives` returns, for each part.
        rounding: Relative rounding error of the curve.
    """
    first = rows[0][1]
    lost = [k for k, entry in enumerate(first) if entry is None]
    faults = [(k, entry) for k, entry in enumerate(first) if isinstance(entry, Exception)]
    values = [
        np.concatenate([numbers(row[k], size) for size, row in rows])
        for k in range(len(first))
    ]
    raised = (faults[0][0], first_line(faults[0][1])) if faults else (math.inf, "")
    return Tower(np.array(values), lost[0] if lost else math.inf, raised, rounding)


def joined(parts: list[Tower]) -> Tower:
    """Returns the points of several towers in one."""
    return dataclasses.replace(
        parts[0],
        values=np.concatenate([part.values for part in parts], axis=1),
        missing=min(part.missing for part in parts),
        raised=min((part.raised for part in parts), key=lambda raised: raised[0]),
    )


def curve_derivatives(curve: Callable, t: tf.Tensor, order: int) -> list:
    """Returns the derivatives 0 to order of a curve from nested tapes.

    The first that is None, or the error that it raises, stands for those above it too.

    Args:
        curve: Maps a tensor of shape `(n,)` to one of shape `(n,)`, entry by entry.
        t: Points, a tensor of one axis.
        order: The highest order.
    """
    return tapes.nested_tapes(curve, t, order, _recorded)


def _recorded(value, t: tf.Tensor, order: int) -> Callable:
    """A step of `tapes.nested_tapes` that keeps what is lost as a finding."""
    return lambda tape: _gradient(tape, value, t) if tf.is_tensor(value) else value


class NestedOneByOne:
    """`curve_derivatives` for a curve that takes one point at a time: as a graph, far faster.

    The graph counts only if it gives at the first point what TensorFlow gives without.

    Args:
        curve: Maps a tensor of shape `(1,)`, and a structure of tensors, to shape `(1,)`.
        order: The highest order.
        patience: Points that are evaluated without a graph, before it is worth its making.
    """

    def __init__(self, curve: Callable, order: int, patience: int = 0):
        self.curve = curve
        self.order = order
        self._patience = patience
        self._evaluate: Callable | None = None

    def __call__(self, points: list[np.ndarray], arrays: list) -> list[tuple[int, list]]:
        points = [tf.constant(point) for point in points]
        self._patience -= len(points)
        if self._evaluate is None and self._patience < 0:
            self._evaluate = self._fastest(points[0], arrays)
        evaluate = self._evaluate or self._eager
        return [(1, evaluate(point, arrays)) for point in points]

    def _eager(self, point: tf.Tensor, arrays: list) -> list:
        return curve_derivatives(lambda t: self.curve(t, arrays), point, self.order)

    def _fastest(self, point: tf.Tensor, arrays: list) -> Callable:
        expected = self._eager(point, arrays)
        kept = [k for k, entry in enumerate(expected) if tf.is_tensor(entry)]

        @functools.partial(tf.function, autograph=False)
        def graph(point, arrays):
            row = self._eager(point, arrays)
            return [row[k] for k in kept]

        def evaluate(point, arrays):
            row = list(expected)
            for k, entry in zip(kept, graph(point, arrays), strict=True):
                row[k] = entry
            return row

        # What cannot be a graph, or raises as one, says so in many ways.
        try:
            same = all(map(_agree, evaluate(point, arrays), expected))
        except Exception:
            same = False
        return evaluate if same else self._eager


def _agree(one, other) -> bool:
    if not tf.is_tensor(one):
        return one is other
    return np.allclose(one.numpy(), other.numpy(), rtol=1e-6, atol=1e-12, equal_nan=True)


def _gradient(tape: tf.GradientTape, y: tf.Tensor, t: tf.Tensor):
    try:
        return tape.gradient(y, t)
    # Whatever an operation raises in place of its gradient is the finding.
    except Exception as error:
        return error


def numbers(entry, size: int) -> np.ndarray:
    """Returns what a tape gave as an array, 0 where that is no tensor."""
    return np.asarray(entry) if tf.is_tensor(entry) else np.zeros(size)


def first_line(error: Exception) -> str:
    """Returns the first line of what an error says, cut to one of a report."""
    lines = [
        line.strip() for line in str(error.args[0] if error.args else error).splitlines()
    ]
    return next((line for line in lines if line), type(error).__name__)[:160]
