"""Warnings about inputs, targets and terms that are too large or small to learn from."""

from typing import Any

import keras
import numpy as np

from keras_smooth.differentiation.derivative_model import DerivativeModel
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.models import calls, graph
from keras_smooth.presentation.warn import advice

# Largest ratio of targets to outputs, and largest argument of the first activation. Beyond these
# values, an 8 x 20 network lost the second derivative of exp(-x^2) (docs/limits.md).
_LARGEST_RATIO, _LARGEST_ARGUMENT = 50.0, 15.0
# If a term of an objective is this many times larger than all others, it hides them.
_LARGEST_TERM_RATIO = 1e4
# Outputs with more columns, such as images, are treated as one column.
_MAX_COLUMNS = 16
# Names of losses that depend on the difference of outputs and targets alone.
_LOSSES_OF_DIFFERENCES = {
    "mse", "mean_squared_error", "meansquarederror", "mae", "mean_absolute_error",
    "meanabsoluteerror", "huber", "log_cosh", "logcosh",
}  # fmt: skip


@advice
def warn_of_inputs(model: keras.Model, fitted_model: keras.Model, x: Any) -> str | None:
    """Warns, once for each model, if the arguments of its first activation are far from 0.

    Args:
        model: The user's model.
        fitted_model: The same model, or its copy in float64.
        x: Inputs of a few rows.
    """
    if isinstance(fitted_model, DerivativeModel):
        fitted_model = fitted_model.model
    # A graph also has operations, which have no weights.
    layers = [row for row in graph.unique(fitted_model) if isinstance(row[1], keras.Layer)]
    path, first = next((row for row in layers if row[1].trainable_weights), ("", None))
    if not isinstance(first, keras.layers.Dense):
        return None
    if first.activation is keras.activations.linear:
        return None
    for call in calls.record(fitted_model, [first], (x,))[id(first)]:
        values = np.asarray((*call.args, *call.kwargs.values())[0], "float64")
        values = values.reshape(-1, values.shape[-1])
        arguments = values @ np.asarray(first.kernel, "float64")
        if first.use_bias:
            arguments = arguments + np.asarray(first.bias, "float64")
        # The root mean square over rows, and the median of it over units.
        size = float(np.median(_root_mean_square(arguments)))
        if size > _LARGEST_ARGUMENT:
            mean, spread = np.abs(values.mean(axis=0)).max(), values.std(axis=0).max()
            return (
                f"What reaches the layer {path} has means up to {mean:.3g} and standard "
                f"deviations up to {spread:.3g}, so that its activation gets arguments of "
                f"{size:.3g} (root mean square): there it is straight or flat, and has no "
                f"derivatives to train. {_remedy(fitted_model)}"
            )
    return None


def _remedy(model: keras.Model) -> str:
    """Returns the advice to standardize, which differs for a model with Rescaling layers."""
    if isinstance(model, DerivativeModel):
        model = model.model
    if any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers):
        return (
            "The model has layers of Rescaling, for other data: pass these x and y to "
            "keras_smooth.standardized, and as model the network without its scales."
        )
    return (
        "Fit keras_smooth.standardized(model, x, y): its network gets x and y minus their means, "
        "divided by their standard deviations, and it returns y and its derivatives by x in the "
        "units of the data."
    )


@advice
def warn_of_targets(model: keras.Model, outputs: Any, compared: list[tuple]) -> str | None:
    """Warns, once for each model, if targets are much larger than the outputs or vary much less.

    Args:
        model: Compiled model.
        outputs: Its outputs for a few rows.
        compared: Loss, target, output and weights of each loss.
    """
    if any(loss.keras_name not in _LOSSES_OF_DIFFERENCES for loss, *_ in compared):
        return None
    is_derived = isinstance(model, DerivativeModel)
    for _, target, output, _ in compared:
        # The sizes of y and x determine those of the derivatives.
        if is_derived and output is not outputs["y"]:
            continue
        output, target = _in_columns(output), _in_columns(target)
        if output.shape == target.shape and np.any(far := _is_far(output, target)):
            column = int(np.argmax(far))
            output, target = output[:, column], target[:, column]
            mean, spread = target.mean(), target.std()
            return (
                f"The targets have mean {mean:.3g} and standard deviation {spread:.3g}, the "
                f"outputs at the start {output.mean():.3g} and {output.std():.3g}: a fit over "
                "such a distance saturates activations or ends early, and derivatives go wrong "
                f"first. {_remedy(model)}"
            )
    return None


@advice
def warn_of_terms(
    model: keras.Layer, objective: Objective, weights: dict[str, float], points: tuple
) -> str | None:
    """Warns, once for each model, of a term that is not finite or far larger than all others.

    Args:
        model: The user's model.
        objective: The objective, at the initial weights.
        weights: Factors of its terms by name, 1 by default.
        points: The points of the objective.
    """
    terms = {n: weights.get(n, 1.0) * v for n, v in objective.terms(points).items()}
    sizes = {name: abs(term) for name, term in terms.items()}
    if undefined := [name for name in terms if not np.isfinite(terms[name])]:
        return f"At the start these terms of the objective are inf or NaN: {', '.join(undefined)}."
    first, *others = sorted(sizes, key=sizes.__getitem__, reverse=True)
    # A term may be 0 because the initial weights satisfy it.
    others = [name for name in others if sizes[name] > 0.0]
    if not others or sizes[first] < _LARGEST_TERM_RATIO * sizes[others[0]]:
        return None
    ratio = sizes[first] / sizes[others[0]]
    return (
        f"The term {first!r} of the objective is {sizes[first]:.3g} at the start, {ratio:.1g} "
        f"times as much as the next one, {others[0]!r} ({sizes[others[0]]:.3g}): a fit sees "
        f"little of the others. Pass loss_weights={{{first!r}: {1.0 / ratio:.0e}}}, or write the "
        "equation in units in which its coefficients are near 1."
    )


def _in_columns(values: Any) -> np.ndarray:
    """Returns values as a matrix, with the last axis as its columns if they are few."""
    values = np.asarray(values, "float64")
    width = values.shape[-1] if values.ndim > 1 else 1
    return values.reshape(-1, width if width <= _MAX_COLUMNS else 1)


def _is_far(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns for each column whether targets are far from 1 and from the outputs in size."""
    spread = target.std(axis=0)
    large = _root_mean_square(target) > _LARGEST_RATIO * np.maximum(
        _root_mean_square(output), 1.0
    )
    small = spread < np.minimum(output.std(axis=0), 1.0) / _LARGEST_RATIO
    return (spread > 0.0) & (large | small)


def _root_mean_square(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(values**2, axis=0))
