"""An evaluation of the same function in float64, whose differences have twice the digits."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.differentiation.declared_gradients import change_first_derivative
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.models import calls, copies, own_call
from keras_smooth.models.agreement import EPSILON, agrees, epsilon


def in_float64(evaluation: Evaluation) -> Evaluation | None:
    """Returns an evaluation of the same function in float64, or None.

    The result is None if the model computes in float64 already, or if neither a copy of it nor
    its operations compute the same values in float64.
    """
    model, points = evaluation.model, evaluation.points
    y = calls.without_side_effects(evaluation.traces.call, points.x)
    rounding = epsilon(model, y)
    if rounding <= EPSILON["float64"]:
        return None
    finer = points.at(calls.cast_to("float64", points.flat))
    directions = tuple(calls.cast_to("float64", list(evaluation.directions)))
    for convert in (_model_in_float64, _operations_in_float64):
        try:
            function = convert(evaluation, finer.x, y, rounding)
        # The model's code can raise any error in float64.
        except Exception:
            continue
        return dataclasses.replace(
            evaluation, model=function, points=finer, directions=directions
        )
    return None


def _model_in_float64(evaluation: Evaluation, x: Any, y: Any, rounding: float) -> Callable:
    """Returns a copy of a model in float64, or a function that computes in it.

    Args:
        evaluation: The evaluation.
        x: The inputs in float64.
        y: The outputs of the model in its own dtype.
        rounding: The rounding of these outputs.

    Raises:
        ValueError: If there is no copy, or the function computes in another dtype.
    """
    model = evaluation.model
    if not isinstance(model, keras.Operation):
        return _checked(model, x, y, rounding)
    with calls.preserved_random_state():
        copy = copies.copy_in("float64", model, (x,), {})
    copies.fill_and_compare(model, copy, "float64", calls.Call((x,), {}, y))
    return copy


def _operations_in_float64(
    evaluation: Evaluation, x: Any, y: Any, rounding: float
) -> Callable:
    """Returns a function that runs the operations of a model in float64; arguments as above.

    Raises:
        ValueError: If an operation does not exist in float64, or if nested tapes would use a
            gradient that the model declares.
    """
    points = evaluation.points
    if evaluation.engine == "tape" and change_first_derivative(evaluation.traces, points):
        raise ValueError(
            "Nested tapes would use another gradient than that of the operations."
        )

    def function(*flat: tf.Tensor) -> Any:
        x = keras.tree.pack_sequence_as(points.x, list(flat))
        return own_call.call(evaluation.model, x, evaluation.training)

    finer = calls.without_side_effects(operations.in_float64, function, points.flat)
    return _checked(lambda x: finer(*keras.tree.flatten(x)), x, y, rounding)


def _checked(function: Callable, x: Any, y: Any, rounding: float) -> Callable:
    """Returns a function if its outputs are those of the model, in float64.

    Raises:
        ValueError: If they are not.
    """

    def run(args: tuple, kwargs: dict) -> Any:
        return own_call.call(function, *args, **kwargs)

    outputs = run((x,), {})
    if any(leaf.dtype != "float64" for leaf in keras.tree.flatten(outputs)):
        raise ValueError("It returns another dtype.")
    if agrees(run, ((x,), {}), outputs, y, rounding):
        return function
    raise ValueError("It returns other values.")
