"""Whether the targets and their weights fit the outputs of a model."""

from typing import Any

import keras

from keras_smooth.lbfgs.losses import has_own_loss
from keras_smooth.models import calls

# Losses whose targets are of another shape than the outputs.
_FREE = ("ctc",)


def check_targets(model: keras.Model, sample: tuple) -> None:
    """Raises where targets are missing, or would be broadcast without a word.

    Args:
        model: Compiled model.
        sample: A few rows `(x, y, sample_weight)`.

    Raises:
        ValueError: If they do not fit the outputs.
    """
    if has_own_loss(model) or model.loss is None:
        return
    x, y, sample_weight = sample
    if y is None:
        raise ValueError(
            "y is None, but the model is compiled with a loss that compares outputs with "
            "targets. Pass y, or compile without a loss and use add_loss."
        )
    _check_weights(y, sample_weight)
    if all(map(_compares_entries, keras.tree.flatten(model.loss))):
        _check_shapes(model, x, y)


def _compares_entries(loss: Any) -> bool:
    """Returns whether a loss is Keras' own, of outputs and targets entry by entry."""
    if loss is None:
        return True
    named = loss if isinstance(loss, str) else getattr(loss, "name", None) or loss.__name__
    own = isinstance(loss, str) or (getattr(loss, "__module__", "") or "").startswith(
        "keras."
    )
    return own and named.lower() not in _FREE


def _check_shapes(model: keras.Model, x: Any, y: Any) -> None:
    outputs = calls.run(model, x)
    if isinstance(y, dict) and not isinstance(outputs, dict):
        outputs = dict(zip(model.output_names, keras.tree.flatten(outputs)))
    for output, target in zip(keras.tree.flatten(outputs), keras.tree.flatten(y)):
        if not _fit(tuple(output.shape), tuple(target.shape)):
            raise ValueError(
                f"The model's output has shape {(None, *output.shape[1:])}, the targets "
                f"have {(None, *target.shape[1:])}. Give them one shape; classes may be "
                "without the last axis, or with a last axis of 1."
            )


def _fit(output: tuple, target: tuple) -> bool:
    """Returns whether Keras compares shapes as they are meant, not by broadcasting."""
    without = output[:-1]
    return target in (output, without, (*without, 1), (*output, 1))


def _check_weights(y: Any, sample_weight: Any) -> None:
    if not keras.tree.is_nested(sample_weight):
        return
    try:
        keras.tree.assert_same_structure(
            *map(keras.tree.lists_to_tuples, (y, sample_weight))
        )
    except ValueError as error:
        raise ValueError(
            "`sample_weight` must be one array, or one for every target in the structure "
            f"of y: {error}"
        ) from error
