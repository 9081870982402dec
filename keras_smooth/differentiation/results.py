"""The result of an evaluation, with checks: independent samples, verification, advice."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import boolean
from keras_smooth.differentiation import independence
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.points import random_directions
from keras_smooth.differentiation.verification import (
    check_without_trace,
    verified_result,
    with_verification,
)
from keras_smooth.jet import Jet
from keras_smooth.models import calls
from keras_smooth.models.checked_inputs import explained_batch
from keras_smooth.operations.program import layer_path
from keras_smooth.operations.rows import is_inexact
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.warn import advice


def result(evaluation: Evaluation, verify: bool) -> Any:
    """Returns the result of an evaluation, verified if requested.

    Raises:
        ValueError: If the model mixes samples, or is built for batches of another size.
    """
    verify = boolean("`verify`", verify)
    num_samples = evaluation.points.flat[0].shape[0]
    with explained_batch(evaluation.model, num_samples, evaluation.batch_size):
        independence.check(evaluation.traces, evaluation.points, evaluation.order)
        values = verified_result(evaluation) if verify else evaluation.result()
        if not verify and evaluation.order:
            check_without_trace(evaluation)
        evaluation.warn_of_tapes()
        _advise_if_not_finite(evaluation.model, evaluation, values)
        return values


def last_entry(evaluation: Evaluation, verify: bool) -> Any:
    """Returns the last entry of the result of an evaluation, with its verification."""
    values = result(evaluation, verify)
    return with_verification(values[-1], values)


def in_shape_of_x(name: str, general: str, evaluation: Evaluation, verify: bool) -> Any:
    """Returns derivatives of one output number per sample, in the shape of x.

    Args:
        name: The name of the operator.
        general: The name of the operator for more output numbers.
        evaluation: The evaluation of y and the derivatives.
        verify: Whether to verify them.

    Raises:
        ValueError: If there are more output numbers.
    """
    values = result(evaluation, verify)
    y, points = values[0], evaluation.points
    if keras.tree.is_nested(y) or y.shape[1:].num_elements() != 1:
        shapes = keras.tree.map_structure(lambda tensor: tuple(tensor.shape[1:]), y)
        raise ValueError(
            f"{name} needs one output number a sample, received outputs of shape {shapes}. "
            f"Use keras_smooth.{general}."
        )
    flat = zip(keras.tree.flatten(values[-1]), points.moving, strict=True)
    rows = [tf.reshape(value, (-1, *x.shape[1:])) for value, x in flat]
    return points.structured(with_verification(rows, values))


_SEED = 3


@advice
def _advise_if_not_finite(
    model: Callable, evaluation: Evaluation, values: tuple
) -> str | None:
    """Warns of derivatives that are not finite, in eager mode.

    Args:
        model: The model of the evaluation.
        evaluation: The evaluation.
        values: Its result.
    """
    if not tf.executing_eagerly():
        return None
    # The user's tapes must not record this. A sum is finite only if all of its terms are.
    with tf.init_scope():
        sums = map(tf.reduce_sum, filter(calls.is_float, keras.tree.flatten(values[1:])))
        if all(bool(tf.math.is_finite(value)) for value in sums):
            return None
        is_finite = _are_finite(values[0])
        lost = {k: np.zeros_like(is_finite) for _, k in evaluation.task.entries if k}
        for (_, k), entry in zip(evaluation.task.entries, values):
            if k:
                lost[k] |= is_finite & ~_are_finite(entry)
    order = min((k for k, samples in lost.items() if samples.any()), default=None)
    if order is None:
        return None
    location = _first_location(evaluation, order, int(np.argmax(lost[order])))
    return (
        f"{evaluation.traces.name}: y is finite, but its derivatives of order {order} are not, "
        f"at {lost[order].sum()} of {counted(len(is_finite), 'sample')}{location}. "
        "keras_smooth.audit(model, x) examines what models compute there."
    )


def _are_finite(structure: Any) -> np.ndarray:
    """Returns for each sample whether all of its numbers are finite."""
    floats = list(filter(calls.is_float, keras.tree.flatten(structure)))
    return np.isfinite(calls.float64_rows(floats)).all(axis=1)


def _first_location(evaluation: Evaluation, order: int, sample: int) -> str:
    """Returns text about the first operation with derivatives that are not finite, or ""."""
    points, operations = evaluation.points, []

    def watch(operation: tf.Operation, inputs: list) -> None:
        for tensor, value in zip(operation.inputs, inputs):
            if isinstance(value, Jet) and not operations and not _is_finite(value):
                operations.append(tensor.op)

    # The model may not accept one sample, or an operation may have no rule.
    with contextlib.suppress(Exception):
        one_sample = points.at([tf.gather(x, [sample]) for x in points.flat])
        directions = [v[None] for v in random_directions(one_sample, _SEED)]
        evaluation.traces.propagated(one_sample, directions, order, watch)
    if not operations:
        return ""
    return f", first at {operations[0].type} in {layer_path(operations[0])}"


def _is_finite(jet: Jet) -> bool:
    entries = jet.unframed().entries if is_inexact(jet.dtype) else []
    known = (value for value in entries if value is not None)
    return all(bool(tf.reduce_all(tf.math.is_finite(value))) for value in known)
