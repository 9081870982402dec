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
        _check_number(model, x)
        _check_shapes(model, x)
    try:
        return calls.call_without_trace(model, x)
    except (ValueError, tf.errors.UnimplementedError) as error:
        shapes = ", ".join(str(_open(leaf.shape)) for leaf in keras.tree.flatten(x))
        raise ValueError(
            f"The model cannot be called on x of shape {shapes}: {copies.brief(error)}"
        ) from error


def _inputs(model: keras.Model) -> list[keras.KerasTensor]:
    return keras.tree.flatten(sample_inputs.of_graph(model))


def _check_number(model: keras.Model, x: Any) -> None:
    expected = sample_inputs.of_graph(model)
    names = [tensor.name for tensor in _inputs(model)]
    if isinstance(expected, dict) and isinstance(x, dict):
        # Keras leaves out what is too much in a dict.
        for name in expected:
            if name not in x:
                raise ValueError(
                    f'Missing data for input "{name}": x has the keys {", ".join(x)}, the '
                    f"inputs of the model are {', '.join(expected)}."
                )
        return
    size = len(keras.tree.flatten(x))
    if size != len(names):
        raise ValueError(
            f"x has {size} array{'s' * (size != 1)}, but the model has {len(names)} "
            f"input{'s' * (len(names) != 1)}: {', '.join(names)}. Pass one array for each."
        )
    if len(names) == 1 and isinstance(x, dict) and not isinstance(expected, dict):
        raise ValueError(
            f"x is a dict with the key {next(iter(x))!r}, but the model has one input: pass "
            "the array itself."
        )


def _check_shapes(model: keras.Model, x: Any) -> None:
    expected = sample_inputs.of_graph(model)
    if isinstance(expected, dict) and isinstance(x, dict):
        x = {name: x[name] for name in expected}
    for leaf, tensor in zip(keras.tree.flatten(x), _inputs(model)):
        shape, wanted = _of_one_rank(tuple(leaf.shape), tuple(tensor.shape))
        place = (
            f"x has shape {_open(leaf.shape)}, but the input {tensor.name} of the model "
        )
        place += f"has {tuple(tensor.shape)}: expected"
        if len(shape) != len(wanted):
            raise ValueError(f"{place} {len(wanted)} axes, the first of them for rows.")
        for axis in range(-1, -len(shape), -1):
            if wanted[axis] not in (None, shape[axis]):
                raise ValueError(f"{place} axis {axis} of x to have value {wanted[axis]}.")


def _of_one_rank(shape: tuple, wanted: tuple) -> tuple[tuple, tuple]:
    """Returns two shapes as Keras compares them: with or without a last axis of 1."""
    if len(shape) == len(wanted) + 1 and shape[-1] == 1:
        return shape[:-1], wanted
    if len(shape) == len(wanted) - 1 and wanted[-1] == 1:
        return (*shape, 1), wanted
    return shape, wanted


def _open(shape: Any) -> tuple:
    return (None, *tuple(shape)[1:])
