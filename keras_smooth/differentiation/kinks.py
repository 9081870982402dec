"""Kinks between the points: jumps of a derivative on the lines from each point to the next."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.differentiation.points import Points
from keras_smooth.differentiation.traces import Traces
from keras_smooth.jet import Jet
from keras_smooth.models import calls
from keras_smooth.models.agreement import EPSILON
from keras_smooth.models.tracing import traced_if_possible

# A line is divided into _PARTS, and the part with the largest jump again, _DIVISIONS times in
# total, down to 10^-7 of the line.
_PARTS, _DIVISIONS = 16, 6
# The smallest jump, as a fraction of y and its derivatives: half of the digits of float32.
_SMALLEST = EPSILON["float32"] ** 0.5


def kinds_not_smooth(traces: Traces, points: Points, order: int) -> list[str]:
    """Returns the kinds of operations with which a derivative may jump.

    Args:
        traces: The traces of the model.
        points: The points.
        order: The order of the derivative; 0 is y.
    """
    classes = traces.apply_to_program(operations.classes, points)
    return sorted({each.type for each, k in classes if k is None or k <= order - 1})


def lie_between(traces: Traces, points: Points, order: int) -> bool:
    """Returns whether a derivative jumps on the line from a point to the next.

    On a small part of the line, a derivative without jumps changes by its slope times the length
    of the part. The remainder of the change decreases with the part, except at a jump.

    Args:
        traces: The traces of the model.
        points: The points.
        order: The order of the derivative along the line; 0 is y.
    """
    derivatives = _derivatives_along_lines(traces, points, order + 1)
    rows = np.arange(points.flat[0].shape[0])
    low, high, scale = np.zeros(len(rows)), np.ones(len(rows)), 0.0
    for _ in range(_DIVISIONS):
        t = np.linspace(low, high, _PARTS + 1)
        *lower, slope = np.moveaxis(np.stack(list(map(derivatives, t))), 1, 0)
        # Derivatives with respect to t have the size of y.
        scale = max(scale, np.abs(lower).max())
        lengths = np.diff(t, axis=0)[..., None]
        remainder = np.diff(lower[-1], axis=0) - lengths * (slope[1:] + slope[:-1]) / 2
        jumps = np.abs(remainder).max(axis=-1)
        largest = jumps.argmax(axis=0)
        low, high = t[largest, rows], t[largest + 1, rows]
    return bool(jumps.max() > _SMALLEST * scale)


def _derivatives_along_lines(traces: Traces, points: Points, order: int) -> Callable:
    """Returns a function of the position t on each line from a point to the next.

    It returns y and its derivatives with respect to t, of shape `(1 + order, batch, numbers)`.
    """
    lines = [tf.roll(x, 1, axis=0) - x for x in points.moving]

    def entries(*moving: tf.Tensor) -> list[list[tf.Tensor]]:
        outputs = traces.propagated(
            points.with_moving(moving), [v[None] for v in lines], order
        )
        jets = [y for y in outputs if isinstance(y, Jet) and y.dtype.is_floating]
        return [[y.primal for y in jets]] + [
            [y.entry(k)[0] for y in jets] for k in range(1, order + 1)
        ]

    run = traced_if_possible(entries, *points.moving)

    def derivatives(t: np.ndarray) -> np.ndarray:
        return np.stack(list(map(calls.float64_rows, run(*points.moved(t, lines).moving))))

    return derivatives
