"""Whether inputs, targets and terms are of a size that a network learns from."""

from typing import Any

import keras
import numpy as np

from keras_smooth.differentiation.derivative_model import DerivativeModel
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.models import calls, graph
from keras_smooth.presentation.warn import advice

# Beyond them an 8 x 20 network lost the second derivative of exp(-x^2) (docs/limits.md).
_FACTOR, _ARGUMENT = 50.0, 15.0
# So many times the next one a term of an objective hides it.
_TERM = 1e4
# Outputs of more columns, as images, count as one.
_MOST_COLUMNS = 16
_OF_DIFFERENCES = {
    "mse", "mean_squared_error", "meansquarederror", "mae", "mean_absolute_error",
    "meanabsoluteerror", "huber", "log_cosh", "logcosh",
}  # fmt: skip


@advice
def warn_of_inputs(model: keras.Model, worker: keras.Model, x: Any) -> str | None:
    """Warns, once a model, if its first activation is far from 0 at the start.

    Args:
        model: The user's.
        worker: It, or its copy.
        x: A few rows that it takes.
    """
    if isinstance(worker, DerivativeModel):
        worker = worker.model
    # The operations of a graph have no weights.
    layers = [row for row in graph.unique(worker) if isinstance(row[1], keras.Layer)]
    path, first = next((row for row in layers if row[1].trainable_weights), ("", None))
    if not isinstance(first, keras.layers.Dense):
        return None
    if first.activation is keras.activations.linear:
        return None
    for call in calls.record(worker, [first], (x,))[id(first)]:
        values = np.asarray((*call.args, *call.kwargs.values())[0], "float64")
        values = values.reshape(-1, values.shape[-1])
        arguments = values @ np.asarray(first.kernel, "float64")
        if first.use_bias:
            arguments = arguments + np.asarray(first.bias, "float64")
        # The median over units of what the activation gets.
        size = float(np.median(_size(arguments)))
        if size > _ARGUMENT:
            mean, spread = np.abs(values.mean(axis=0)).max(), values.std(axis=0).max()
            return (
                f"What reaches the layer {path} has means up to {mean:.3g} and standard "
                f"deviations up to {spread:.3g}, so that its activation gets arguments of "
                f"{size:.3g} (root mean square): there it is straight or flat, and has no "
                f"derivatives to train. {_remedy(worker)}"
            )
    return None


def _remedy(model: keras.Model) -> str:
    """Returns what to do, for a model with scales or without."""
    if isinstance(model, DerivativeModel):
        model = model.model
    if any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers):
        return (
            "The model has layers of Rescaling, for other data: pass these x and y to "
            "keras_smooth.standardized, and as model the network without its scales."
        )
    return (
        "Fit keras_smooth.standardized(model, x, y), whose network gets x and y without their "
        "means, in parts of their deviations, and which returns y and its derivatives by x as "
        "they are."
    )


@advice
def warn_of_targets(model: keras.Model, outputs: Any, rows: list[tuple]) -> str | None:
    """Warns, once a model, if targets are much larger than the outputs, or vary less.

    Args:
        model: Compiled model.
        outputs: What it returns for a few rows.
        rows: Loss, target, output and weights of each loss.
    """
    if any(loss.own_name not in _OF_DIFFERENCES for loss, *_ in rows):
        return None
    is_derived = isinstance(model, DerivativeModel)
    for _, target, output, _ in rows:
        # Derivatives are of the size that y and x make them.
        if is_derived and output is not outputs["y"]:
            continue
        output, target = _columns(output), _columns(target)
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
    """Warns, once a model, of a term that is no number or far larger than all others.

    Args:
        model: The user's.
        objective: What is minimized, at the start.
        weights: Factors of its terms, 1 if not given.
        points: Its points.
    """
    terms = {n: weights.get(n, 1.0) * v for n, v in objective.terms(points).items()}
    sizes = {name: abs(term) for name, term in terms.items()}
    if undefined := [name for name in terms if not np.isfinite(terms[name])]:
        return f"At the start these terms of the objective are inf or NaN: {', '.join(undefined)}."
    first, *others = sorted(sizes, key=sizes.__getitem__, reverse=True)
    # A term that is 0 may be met by the start.
    others = [name for name in others if sizes[name] > 0.0]
    if not others or sizes[first] < _TERM * sizes[others[0]]:
        return None
    ratio = sizes[first] / sizes[others[0]]
    return (
        f"The term {first!r} of the objective is {sizes[first]:.3g} at the start, {ratio:.1g} "
        f"times as much as the next one, {others[0]!r} ({sizes[others[0]]:.3g}): a fit sees "
        f"little of the others. Pass loss_weights={{{first!r}: {1.0 / ratio:.0e}}}, or write the "
        "equation in units in which its coefficients are near 1."
    )


def _columns(values: Any) -> np.ndarray:
    values = np.asarray(values, "float64")
    width = values.shape[-1] if values.ndim > 1 else 1
    return values.reshape(-1, width if width <= _MOST_COLUMNS else 1)


def _is_far(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns for each column whether its targets are far from outputs and from 1."""
    spread = target.std(axis=0)
    large = _size(target) > _FACTOR * np.maximum(_size(output), 1.0)
    small = spread < np.minimum(output.std(axis=0), 1.0) / _FACTOR
    return (spread > 0.0) & (large | small)


def _size(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(values**2, axis=0))
