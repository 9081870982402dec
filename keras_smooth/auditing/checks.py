"""The derivatives of a layer by nested tapes, compared with differences of its values.

It is for operations that are not in the table or that the table does not settle.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.auditing.findings import Cause, Finding, Verdict
from keras_smooth.auditing.traced import Subject
from keras_smooth.differentiation import tapes, tasks, verification
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.lost import LostError
from keras_smooth.differentiation.points import Points, as_points, random_directions
from keras_smooth.models import calls, own_call
from keras_smooth.models.checked_inputs import first_line
from keras_smooth.operations.leaves import chosen_leaves

_SEED = 1
# The largest numbers of samples and of calls of a layer that are measured.
_SAMPLES, _CALLS = 4, 4


def measured_findings(
    subject: Subject, layer: keras.Operation, training: bool, most: int | None = _SAMPLES
) -> list[Finding]:
    """Measures the derivatives of a layer in a model.

    Args:
        subject: The model and its inputs.
        layer: A layer or operation in it, or the model itself.
        training: The mode.
        most: The largest number of samples that are measured; None is all.

    Returns:
        A finding for each call of the layer.
    """
    x = keras.tree.map_structure(lambda t: t[:most], subject.x)
    try:
        recorded = calls.record(subject.model, [layer], (x,), training)[id(layer)]
    # The code of a model can raise any error, for example for another batch size.
    except Exception as error:
        return [Finding(Cause.UNKNOWN, reason=first_line(error).rstrip("."))]
    functions = [as_function(layer, call, training) for call in recorded[:_CALLS]]
    pairs = [(function, as_points(x)) for x, function in functions]
    moving = [(function, points) for function, points in pairs if points.places]
    return [_compared(tape_evaluation(*pair, subject.order)) for pair in moving]


def tape_evaluation(
    function: Callable, points: Points, order: int, directions: tuple | None = None
) -> Evaluation:
    """Returns the evaluation of a function by nested tapes, by default in random directions."""
    directions = directions or random_directions(points, _SEED)
    task = tasks.directional(order)
    return Evaluation(task, function, points, "tape", directions=directions)


def as_function(
    layer: keras.Operation, call: calls.Call, training: bool
) -> tuple[Any, Callable]:
    """Returns the tensors among the arguments of a call, and a function of them.

    The function is the layer itself if possible, since a layer can be copied in float64, in
    which differences have twice the digits.
    """
    tensors, filled = chosen_leaves(call.arguments(), tf.is_tensor)
    is_layer = isinstance(layer, keras.layers.Layer)
    has_more = any(v is not None for name, v in call.kwargs.items() if name != "training")
    if not training and is_layer and len(call.args) == 1 and not has_more:
        return call.args[0], layer
    mode = own_call.in_mode(layer, training)

    def function(x: Sequence) -> Any:
        args, named = filled(x)
        return layer(*args, **{**mode, **named})

    return tensors, function


def _compared(evaluation: Evaluation) -> Finding:
    """Returns the finding of a comparison of nested tapes with differences."""
    try:
        values, lost = by_tapes(evaluation)
        if 1 < lost <= evaluation.order:
            # The derivatives of lower orders exist, and are compared in float64.
            task = tasks.directional(lost - 1)
            lower = _compared(dataclasses.replace(evaluation, task=task))
            if lower.cause.verdict == Verdict.FAULTY:
                return lower
        comparison = calls.without_side_effects(verification.compared, evaluation, values)
    # TensorFlow or the layer's code can raise any error.
    except Exception as error:
        return Finding(Cause.UNKNOWN, reason=first_line(error).rstrip("."))
    agreements = enumerate(comparison.agreements)
    differing = [(order, row) for order, row in agreements if order and not row.ok]
    if not differing:
        return Finding(Cause.MEASURED, reason=f"measured in {comparison.dtype}")
    wrong = (pair for pair in differing if verification.is_wrong(pair[1]))
    order, row = next(wrong, differing[0])
    if not np.isfinite(row.scale):
        return Finding(Cause.NAN, order)
    if verification.is_wrong(row):
        words = f"nested tapes are off by {row.difference:.0e}, compared with differences"
        words = f"TensorFlow has none of order {order}" if order >= lost else words
        return Finding(Cause.WRONG, order, words)
    words = f"its derivative of order {order} changes faster than differences can follow"
    if not row.enough_digits:
        words = (
            f"{comparison.dtype} leaves too few digits to measure its derivative of order "
            f"{order}"
        )
    return Finding(Cause.UNKNOWN, reason=words)


def by_tapes(evaluation: Evaluation) -> tuple[tuple, int]:
    """Returns the derivatives by nested tapes, and the first order that TensorFlow lacks.

    The result has 0 for derivatives that TensorFlow lacks, since some of them are really 0.
    """
    order, entries = 0, _entries_by_tapes(evaluation, 0)
    for highest in range(evaluation.order, 0, -1):
        # An operation has no gradient, or its gradient has none.
        with contextlib.suppress(LostError, LookupError):
            order, entries = highest, _entries_by_tapes(evaluation, highest)
            break
    zeros = keras.tree.map_structure(tf.zeros_like, entries[0])
    return (*entries, *[zeros] * (evaluation.order - order)), order + 1


def _entries_by_tapes(evaluation: Evaluation, order: int) -> tuple:
    by_tapes = functools.partial(tapes.along, order=order)
    return calls.without_side_effects(
        by_tapes, evaluation.traces, evaluation.points, *evaluation.directions
    )


def lowest_not_finite(subject: Subject, training: bool) -> int | None:
    """Returns the lowest order at which a derivative by nested tapes is not finite.

    Args:
        subject: The model and its inputs.
        training: The mode.

    Returns:
        The order, 0 for y itself. None if all are finite, or tapes raise an error first.
    """

    def function(x: Any) -> Any:
        return own_call.call(subject.model, x, training)

    points = as_points(subject.x)
    evaluation = tape_evaluation(function, points, subject.order)

    def gradients(order: int) -> list:
        return calls.without_side_effects(_gradients_of_sum, function, points, order)

    try:
        entries, lost = by_tapes(evaluation)
        for k, entry in enumerate(entries):
            more = gradients(k) if 0 < k < lost else []
            if not are_finite([*keras.tree.flatten(entry), *more]):
                return k
    except Exception:
        return None
    return None


def _gradients_of_sum(function: Callable, points: Points, order: int) -> list[tf.Tensor]:
    """Returns gradients by nested tapes: of the sum of y, or of the gradients one order lower.

    A selection such as `tf.where(x > 0, x**1.5, 0)` selects derivatives along a direction, too,
    but its gradient is NaN where the derivative that is not selected is not finite.
    """
    with tf.GradientTape() as tape:
        tape.watch(points.moving)
        if order == 1:
            y = keras.tree.flatten(function(points.x))
        else:
            y = _gradients_of_sum(function, points, order - 1)
        total = tf.add_n([tf.cast(tf.reduce_sum(leaf), "float64") for leaf in y])
    return tape.gradient(total, points.moving, unconnected_gradients="zero")


def are_finite(values: Iterable) -> bool:
    """Returns whether all floating-point numbers in some tensors or weights are finite."""
    tensors = map(tf.convert_to_tensor, values)
    floats = (tensor for tensor in tensors if tensor.dtype.is_floating)
    return all(np.isfinite(tensor.numpy()).all() for tensor in floats)
