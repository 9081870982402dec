"""The same evaluation in float64, for a model of another dtype."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.models import agreement, calls, copies, own_call
from keras_smooth.models.agreement import EPSILON


def in_float64(evaluation: Evaluation) -> Evaluation | None:
    """Returns an evaluation of the same function in float64.

    None where the model computes in float64 already, or cannot: where it has no faithful
    copy, or is a function that does not accept float64 or returns something else for it.
    """
    model, points = evaluation.model, evaluation.points
    y = calls.without_trace(evaluation.traces.called, points.x)
    rounding = _rounding(model, y)
    if rounding <= EPSILON["float64"]:
        return None
    finer = points.at(calls.cast_to("float64", points.flat))
    try:
        model = _model(model, finer.x, y, rounding)
    # The model's code can raise any error in float64.
    except Exception:
        return None
    directions = tuple(calls.cast_to("float64", list(evaluation.directions)))
    return dataclasses.replace(evaluation, model=model, points=finer, directions=directions)


def _rounding(model: Callable, y: Any) -> float:
    if isinstance(model, keras.Operation):
        return agreement.epsilon(model, y)
    return max(EPSILON.get(leaf.dtype.name, 0.0) for leaf in keras.tree.flatten(y))


def _model(model: Callable, x: Any, y: Any, rounding: float) -> Callable:
    """Returns a function or model that computes the outputs y in float64.

    Raises:
        ValueError: If there is none.
    """
    if isinstance(model, keras.Operation):
        with calls.preserved_random_state():
            copy = copies.copy_in("float64", model, (x,), {})
        copies.fill_and_compare(model, copy, "float64", calls.Call((x,), {}, y))
        return copy

    def run(args: tuple, kwargs: dict) -> Any:
        return own_call.call(model, *args, **kwargs)

    outputs = run((x,), {})
    if any(leaf.dtype != "float64" for leaf in keras.tree.flatten(outputs)):
        raise ValueError("It returns another dtype.")
    if agreement.agrees(run, ((x,), {}), outputs, y, rounding):
        return model
    raise ValueError("It returns other values.")
