"""Errors if the shapes of x, targets or sample weights do not fit the model."""

import contextlib
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.lbfgs.objective.compiled_loss import (
    CompiledLoss,
    has_own_loss,
    pair_targets,
)
from keras_smooth.models import calls, copies, graph, sample_inputs
from keras_smooth.presentation.counts import counted

# Losses whose targets may be class numbers: the beginnings of their names in lower case.
_CLASS_LOSSES = ("sparse", "circle", "crossentropy", "ce")


def outputs_of(model: keras.Model, x: Any) -> Any:
    """Returns the outputs of a model for a few rows.

    Raises:
        ValueError: If the model cannot be called on them.
    """
    if graph.is_graph(model):
        _check_inputs(sample_inputs.of_graph(model), x)
    try:
        return calls.call_without_side_effects(model, x)
    except (ValueError, tf.errors.UnimplementedError) as error:
        shapes = ", ".join(str(_batch_shape(leaf.shape)) for leaf in keras.tree.flatten(x))
        raise ValueError(
            f"The model cannot be called on x of shape {shapes}: {copies.brief(error)}"
        ) from error


def _check_inputs(expected: Any, x: Any) -> None:
    """Raises an error if x does not have the number or the shapes of the inputs of a graph."""
    inputs = keras.tree.flatten(expected)
    is_by_key = isinstance(expected, dict)
    names = list(expected) if is_by_key else [tensor.name for tensor in inputs]
    keys = f" with the keys {', '.join(x)}" if isinstance(x, dict) else ""
    if isinstance(x, dict):
        # Keras ignores additional keys. A dict by the names of the inputs may replace a list.
        selected = {name: x[name] for name in names if name in x}
        x = selected if is_by_key else list(selected.values())
    leaves = [leaf for leaf in keras.tree.flatten(x) if leaf is not None]
    if len(leaves) != len(inputs):
        raise ValueError(
            f"x has {counted(len(leaves), 'array')}{keys}, but the model has "
            f"{counted(len(inputs), 'input')}: "
            f"{', '.join(names)}. Pass one array for each, alone or in a list, or in a dict by "
            "these names."
        )
    for leaf, tensor in zip(leaves, inputs):
        shape, spec = _batch_shape(leaf.shape), tf.TensorShape(_batch_shape(tensor.shape))
        # Keras accepts shapes with or without a last axis of 1.
        shapes = [shape, (*shape, 1), shape[:-1] if shape[-1:] == (1,) else shape]
        if not any(map(spec.is_compatible_with, shapes)):
            name, needed = tensor.name, tuple(spec)
            raise ValueError(
                f"x has shape {shape}, but the input {name} of the model needs {needed}: an axis "
                "for rows, and the others as they are there."
            )


def _batch_shape(shape: Any) -> tuple:
    """Returns a shape with None as its first axis."""
    return (None, *tuple(shape)[1:])


def check_targets(model: keras.Model, outputs: Any, y: Any, sample_weight: Any) -> list:
    """Returns loss, target, output and weights of each loss, paired as Keras pairs them.

    Args:
        model: Compiled model.
        outputs: Its outputs for a few rows.
        y: Targets of these rows.
        sample_weight: Their weights.

    Raises:
        ValueError: If targets are missing, or shapes or structures do not fit.
    """
    if has_own_loss(model) or model.loss is None:
        return []
    if y is None:
        raise ValueError(
            "y is None, but the model is compiled with a loss that compares outputs with targets. "
            "Pass y, or compile without a loss and use add_loss."
        )
    y, sample_weight = pair_targets(model, y, outputs, sample_weight)
    compiled = CompiledLoss(model, keras.tree.flatten(outputs)[0].dtype.name)
    compared: list | None = None
    # If Keras cannot pair them, it raises an error or returns a key instead of a tensor.
    with contextlib.suppress(ValueError, TypeError, LookupError), keras.StatelessScope():
        compared = compiled.compared_tensors(y, outputs, sample_weight)
    if compared is None or not all(
        tf.is_tensor(target) and (weight is None or tf.is_tensor(weight))
        for _, target, _, weight in compared
    ):

        def with_stars(tree: Any) -> str:
            return str(keras.tree.map_structure(lambda _: "*", tree)).replace("'*'", "*")

        raise ValueError(
            "y, the outputs of the model and `sample_weight` need one structure, where "
            f"`sample_weight` may be one array: y is {with_stars(y)}, the outputs are "
            f"{with_stars(outputs)}, `sample_weight` is {with_stars(sample_weight)}."
        )
    for loss, target, output, weight in compared:
        # A user's own loss may compare outputs and targets of different shapes; ctc does.
        if loss.keras_name in ("", "ctc"):
            continue
        shape, without_last_axis = tuple(output.shape), tuple(output.shape[:-1])
        # Keras compares these shapes without broadcasting.
        shapes = [shape, (*shape, 1)]
        if shape[-1:] == (1,) or loss.keras_name.startswith(_CLASS_LOSSES):
            shapes += [without_last_axis, (*without_last_axis, 1)]
        if tuple(target.shape) not in shapes:
            raise ValueError(
                f"The model's output has shape {_batch_shape(shape)}, the targets have "
                f"{_batch_shape(target.shape)}. Give them one shape; classes may be without the "
                "last axis, or with a last axis of 1."
            )
        if weight is not None:
            _check_weight_shape(weight.shape, loss.loss, output, target)
    return compared


def _check_weight_shape(
    shape: tf.TensorShape, loss: keras.losses.Loss, output: tf.Tensor, target: tf.Tensor
) -> None:
    # Most losses drop the last axis of the outputs; some reduce another axis.
    losses = loss.call(tf.cast(target, output.dtype), output).shape
    if losses[:1] != shape[:1]:
        raise ValueError(
            f"`sample_weight` has a weight for each row, but the loss {loss.name} is none of "
            f"single rows: of {counted(shape[0], 'row')} it has shape {tuple(losses)}. Leave out the "
            "weights, or give the loss an axis other than that of the rows."
        )
    fits = len(shape) == len(losses) and all(
        size in (1, expected) for size, expected in zip(shape, losses)
    )
    if not fits and shape != [*losses, 1]:
        raise ValueError(
            f"`sample_weight` has shape {_batch_shape(shape)}, expected {_batch_shape(losses)}: a "
            f"weight for each row of the output, which has shape {_batch_shape(output.shape)}."
        )
