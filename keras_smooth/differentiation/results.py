"""The result of an evaluation: of independent samples, verified if requested."""

from typing import Any

import keras
import tensorflow as tf

from keras_smooth.checks import truth
from keras_smooth.differentiation import independence, not_finite
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.verification import (
    certified,
    check_hidden,
    with_verification,
)
from keras_smooth.models.checked_inputs import explained_batch


def result(evaluation: Evaluation, verify: bool) -> Any:
    """Returns the result of an evaluation, verified if requested.

    Raises:
        ValueError: If the model does not treat each sample by itself, or is built for
            batches of another size.
    """
    verify = truth("`verify`", verify)
    num_samples = evaluation.points.flat[0].shape[0]
    with explained_batch(evaluation.model, num_samples, evaluation.batch_size):
        independence.check(evaluation.traces, evaluation.points, evaluation.order)
        values = certified(evaluation) if verify else evaluation.result()
        if not verify and evaluation.order:
            check_hidden(evaluation)
        evaluation.warn_of_tapes()
        not_finite.advise(evaluation.model, evaluation, values)
        return values


def last(evaluation: Evaluation, verify: bool) -> Any:
    """Returns the last entry of the result of an evaluation, with its verification."""
    values = result(evaluation, verify)
    return with_verification(values[-1], values)


def in_place_of_y(name: str, general: str, evaluation: Evaluation, verify: bool) -> Any:
    """Returns derivatives of one output number per sample, in the shape of x.

    Args:
        name: Of the operator.
        general: Name of the one for more output numbers.
        evaluation: Of y, and of the derivatives.
        verify: Whether they are verified.

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
