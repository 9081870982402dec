"""OutputChange: the difference between the outputs of two models."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.models import calls, checked_inputs
from keras_smooth.models.tracing import eager_only


@dataclasses.dataclass(frozen=True)
class OutputChange:
    """The difference between the outputs of two models on the same inputs.

    Args:
        largest: The largest absolute difference.
        relative: The largest absolute difference, divided by the largest absolute output of
            the first model.

    Example:

    >>> import numpy as np, keras_smooth
    >>> print(keras_smooth.output_change(np.cos, np.sin, np.zeros(1)))
    Outputs moved by 1.0e+00 at most on these samples (1.0e+00 relative).
    """

    largest: float
    relative: float

    def __str__(self) -> str:
        return (
            f"Outputs moved by {self.largest:.1e} at most on these samples "
            f"({self.relative:.1e} relative)."
        )


@eager_only
def output_change(before: Callable, after: Callable, x: Any) -> OutputChange:
    """Returns the difference between the outputs of two models on the same inputs.

    Args:
        before: A model, a layer or a function of tensors.
        after: Another one.
        x: Inputs of both.

    Returns:
        An `OutputChange`.

    Example:

    >>> import numpy as np, keras_smooth
    >>> keras_smooth.output_change(np.sin, np.cos, np.zeros(1)).largest
    1.0
    """
    return change(_outputs("before", before, x), _outputs("after", after, x))


def _outputs(name: str, model: Any, x: Any) -> Any:
    """Returns the outputs of a model for x, after checking that x fits the model."""
    checked_inputs.check_callable(model, f"`{name}`")
    try:
        x = checked_inputs.tensors(model, x)
    except ValueError as error:
        raise ValueError(f"`{name}`: {error}") from None
    # Without this, a stateful recurrence would start from the final state of the first call.
    outputs = calls.without_side_effects(model, x)
    for output in keras.tree.flatten(outputs):
        if not hasattr(output, "dtype"):
            raise TypeError(f"`{name}` must return tensors, but returned {shown(output)}.")
    return outputs


def _arrays(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(tf.cast(y, tf.float64)) for y in keras.tree.flatten(outputs)]


def change(before: Any, after: Any) -> OutputChange:
    """Returns the difference between the outputs of two models."""
    old, new = _arrays(before), _arrays(after)
    shapes, others = ([array.shape for array in arrays] for arrays in (old, new))
    if shapes != others:
        raise ValueError(
            "`before` and `after` must have outputs of the same shapes, received "
            f"{shapes} and {others}."
        )
    largest = max(float(np.abs(a - b).max(initial=0.0)) for a, b in zip(old, new))
    scale = max(float(np.abs(a).max(initial=0.0)) for a in old)
    return OutputChange(largest, largest / scale if scale else largest)
