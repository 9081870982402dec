"""Whether x fits the inputs of a model."""

from typing import Any

import keras
import tensorflow as tf

from keras_smooth.models import calls, copies, graph, sample_inputs


def outputs_of(model: keras.Model, x: Any) -> Any:
    """Returns the outputs for a few rows.

    Raises:
        ValueError: If the model cannot be called on them.
    """
    if graph.is_graph(model):
        _check(sample_inputs.of_graph(model), x)
    try:
        return calls.call_without_trace(model, x)
    except (ValueError, tf.errors.UnimplementedError) as error:
        shapes = ", ".join(str(_open(leaf.shape)) for leaf in keras.tree.flatten(x))
        raise ValueError(
            f"The model cannot be called on x of shape {shapes}: {copies.brief(error)}"
        ) from error


def _check(expected: Any, x: Any) -> None:
    """Raises an error if x has not the number or the shapes of the inputs of a graph."""
    inputs = keras.tree.flatten(expected)
    names = [tensor.name for tensor in inputs]
    if isinstance(expected, dict) and isinstance(x, dict):
        for name in expected:
            if name not in x:
                raise ValueError(
                    f'Missing data for input "{name}": x has the keys {", ".join(x)}, the '
                    f"inputs of the model are {', '.join(expected)}."
                )
        # Keras leaves out what is too much in a dict.
        x = {name: x[name] for name in expected}
    leaves = keras.tree.flatten(x)
    if len(leaves) != len(inputs):
        raise ValueError(
            f"x has {len(leaves)} array{'s' * (len(leaves) != 1)}, but the model has "
            f"{len(names)} input{'s' * (len(names) != 1)}: {', '.join(names)}. Pass one array "
            "for each."
        )
    if len(names) == 1 and isinstance(x, dict) and not isinstance(expected, dict):
        raise ValueError(
            f"x is a dict with the key {next(iter(x))!r}, but the model has one input: pass "
            "the array itself."
        )
    for leaf, tensor in zip(leaves, inputs):
        shape, wanted = tuple(leaf.shape), tuple(tensor.shape)
        has = (
            f"x has shape {_open(shape)}, but the input {tensor.name} of the model has "
            f"{wanted}: expected"
        )
        # As Keras compares them: with or without a last axis of 1.
        if len(shape) == len(wanted) + 1 and shape[-1] == 1:
            shape = shape[:-1]
        elif len(shape) == len(wanted) - 1 and wanted[-1] == 1:
            shape = (*shape, 1)
        if len(shape) != len(wanted):
            raise ValueError(f"{has} {len(wanted)} axes, the first of them for rows.")
        for axis in range(-1, -len(shape), -1):
            if wanted[axis] not in (None, shape[axis]):
                raise ValueError(f"{has} axis {axis} of x to have value {wanted[axis]}.")


def _open(shape: Any) -> tuple:
    return (None, *tuple(shape)[1:])
