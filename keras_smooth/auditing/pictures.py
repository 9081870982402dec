"""Small charts of a wrong derivative of a layer, by nested tapes and by differences of values."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.auditing import checks
from keras_smooth.auditing.findings import Cause
from keras_smooth.auditing.report import LayerAudit
from keras_smooth.auditing.traced import Subject
from keras_smooth.differentiation.points import as_points
from keras_smooth.models import calls
from keras_smooth.presentation import svg

# The number of points on the line between two samples. With more, second differences in float32
# would have less than three digits, which a picture needs.
_NUM_POINTS = 161
# A layer with more numbers per sample, such as a large convolution, would take seconds to draw.
_MAX_NUMBERS = 20_000
_DRAWN = (Cause.NOT_SMOOTH, Cause.WRONG, Cause.NAN)


def picture(subject: Subject, layers: dict[str, keras.Operation], row: LayerAudit) -> str:
    """Returns the picture of a layer, or "" if there is nothing to draw.

    Args:
        subject: The model and its inputs.
        layers: Its layers by their paths.
        row: The row of the layer in the report.
    """
    layer, (model, x, order, _) = layers.get(row.name), subject
    if layer is None or row.cause not in _DRAWN:
        return ""
    with calls.preserved_random_state():
        training = row.mode == "training"
        call = calls.record(model, [layer], (x,), training)[id(layer)][0]
        if _size(call.arguments()) + _size(call.output) > _MAX_NUMBERS:
            return ""
        x, function = checks.as_function(layer, call, training)
        # A jump is best seen in the highest derivative.
        order = order if row.cause == Cause.NOT_SMOOTH else row.order
        tapes, values = _derivative_on_line(x, function, order)
    t = np.linspace(0.0, 1.0, _NUM_POINTS)
    curves = {"its values": svg.Curve(t, values, 4), "TensorFlow": svg.Curve(t, tapes)}
    title = f"y{min(order, 4) * chr(39)} of {row.name}, from one sample to another"
    return svg.chart(title, curves, "t", logarithmic=False)


def _derivative_on_line(x: Any, function: Any, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a derivative along a line by tapes and by differences, each with shape (points,).

    The line goes from the first sample to the one farthest from it. If there are several outputs,
    the derivative is that of the one for which the two methods differ most.
    """
    samples = as_points(x)
    columns = calls.float64_rows(samples.moving[0])
    end = int(np.argmax(np.abs(columns - columns[0]).sum(axis=1)))
    t = np.linspace(0.0, 1.0, _NUM_POINTS)

    def along(leaf: tf.Tensor) -> tf.Tensor:
        if not calls.is_float(leaf):
            return tf.repeat(leaf[:1], _NUM_POINTS, axis=0)
        shape = (-1, *[1] * (leaf.shape.rank - 1))
        return leaf[0] + tf.cast(t.reshape(shape), leaf.dtype) * (leaf[end] - leaf[0])

    directions = tuple(
        tf.repeat((leaf[end] - leaf[0])[None], _NUM_POINTS, axis=0)
        for leaf in samples.moving
    )
    line = samples.at([along(leaf) for leaf in samples.flat])
    evaluation = checks.tape_evaluation(function, line, order, directions)
    entries, _ = checks.by_tapes(evaluation)
    y, derivative = (calls.float64_rows(entries[k]) for k in (0, order))
    values = y
    for _ in range(order):
        values = np.gradient(values, t, axis=0, edge_order=2)
    off = np.nan_to_num(np.abs(derivative - values), nan=np.inf, posinf=np.inf)
    # Deviations in the middle of the line have precedence, since readers look there.
    middle = off[_NUM_POINTS // 8 : -_NUM_POINTS // 8]
    column = int(np.argmax((middle if middle.any() else off).max(axis=0)))
    return derivative[:, column], values[:, column]


def _size(structure: Any) -> int:
    """Returns how many numbers the tensors of a structure have per sample."""
    tensors = filter(tf.is_tensor, keras.tree.flatten(structure))
    return sum(math.prod(tensor.shape[1:]) for tensor in tensors)
