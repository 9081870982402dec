"""Whether targets are of a size that a network comes to from its start."""

import weakref
from typing import Any

import keras
import numpy as np

from keras_smooth.differentiation.derivative_model import DerivativeModel
from keras_smooth.lbfgs.losses import has_own_loss
from keras_smooth.lbfgs.targets import in_one_structure, of_losses, own_name
from keras_smooth.presentation.warn import warn

# Beyond it an 8 x 20 network lost the second derivative of exp(-x^2) (docs/limits.md).
_FACTOR = 50.0
# Outputs of more columns, as images, count as one.
_MOST_COLUMNS = 16
_OF_DIFFERENCES = {
    "mse", "mean_squared_error", "mae", "mean_absolute_error", "huber", "huber_loss", "log_cosh", "logcosh",
}  # fmt: skip
_warned = weakref.WeakSet()


def warn_of_scales(model: keras.Model, outputs: Any, y: Any) -> None:
    """Warns, once a model, where targets are much larger than the outputs, or vary less.

    Args:
        model: Compiled model.
        outputs: What it returns for a few rows.
        y: Targets of these rows, which fit them.
    """
    if model in _warned or not _compares_sizes(model):
        return
    outputs, y = in_one_structure(model, *of_losses(model.loss, outputs, y))
    if isinstance(model, DerivativeModel):
        # Derivatives are of the size that y and x make them.
        outputs, y = outputs.get("y"), y.get("y")
    for output, target in zip(keras.tree.flatten(outputs), keras.tree.flatten(y)):
        if target is None:
            continue
        output, target = _columns(output), _columns(target)
        if output.shape == target.shape and np.any(far := _is_far(output, target)):
            _warned.add(model)
            column = int(np.argmax(far))
            _warn(output[:, column], target[:, column])
            return


def _compares_sizes(model: keras.Model) -> bool:
    """Returns whether all losses are Keras' own, of outputs less targets."""
    losses = keras.tree.flatten(model.loss)
    if isinstance(model.loss, dict):
        losses = [loss for loss in losses if loss is not None]
    return not has_own_loss(model) and all(
        own_name(loss) in _OF_DIFFERENCES for loss in losses
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


def _warn(output: np.ndarray, target: np.ndarray) -> None:
    mean, spread = target.mean(), target.std()
    warn(
        f"The targets have mean {mean:.3g} and standard deviation {spread:.3g}, the outputs "
        f"at the start {output.mean():.3g} and {output.std():.3g}: a fit over such a "
        "distance saturates activations or ends early, and derivatives go wrong first. Fit "
        f"(y - {mean:.3g}) / {spread:.3g}, and multiply the derivatives by {spread:.3g}."
    )
