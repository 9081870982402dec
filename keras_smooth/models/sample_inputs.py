"""Inputs on which a model or a layer can be run."""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.models import calls, checked_inputs, own_call

SAMPLES = 4
SEED = 0
# Sizes for axes of unknown size: for images and volumes by their rank, and for other inputs.
OPEN_SIZES = {4: 32, 5: 8}
DEFAULT_OPEN_SIZE = 8
# Shapes of samples to try for a layer that was never built.
_SHAPES = ((6,), (6, 5), (8, 8, 6), (6, 6, 6, 6), (2, 4, 4, 4, 3))


def prepared(
    model: keras.layers.Layer, x: Any, copied: Callable, numbers: int = 0
) -> tuple[keras.layers.Layer, tuple]:
    """Returns a built model, and the arguments of a call.

    A model that is not built is copied if Keras can copy it, so that the caller's model stays
    unbuilt.

    Args:
        model: Model or layer.
        x: Inputs or None.
        copied: Returns an unbuilt copy of a layer.
        numbers: The number of numbers of x to use, in whole samples, but at least four
            samples.

    Raises:
        ValueError: If x is None and the shape of the inputs is not known.
    """
    if x is not None:
        tensors = checked_inputs.tensors(model, x)
        sizes = (math.prod(t.shape[1:]) for t in keras.tree.flatten(tensors))
        expected = checked_inputs.fixed_batch_size(model) or SAMPLES
        number = max(expected, numbers // max(1, *sizes, 1))
        x = keras.tree.map_structure(lambda t: t[:number], tensors)
        if not own_call.is_built(model):
            # A class whose config lacks its arguments cannot be copied, and is built itself.
            with contextlib.suppress(Exception):
                model = copied(model)
            with warnings.catch_warnings():
                # Keras warns if layers are built only by the call.
                warnings.simplefilter("ignore")
                model(x)
        return model, (x,)
    if isinstance(model, keras.Model):
        return model, (_inputs_of_model(model),)
    if model.built and _built_shape(model) is not None:
        return model, (keras.tree.map_shape_structure(_normal_sample, _built_shape(model)),)
    return _try_shapes(model, copied)


def _inputs_of_model(model: keras.Model) -> Any:
    structure = of_graph(model) if model.built else None
    if structure is None:
        raise ValueError(
            f"The shape of the inputs of {model.name!r} is not known. Pass x, an array of a "
            "few samples."
        )
    leaves = keras.tree.flatten(structure)
    number = checked_inputs.fixed_batch_size(model) or SAMPLES
    # Some inputs may be indices, as for an Embedding: try which, until the model runs.
    candidates = [frozenset(), *({i} for i in range(len(leaves))), {*range(len(leaves))}]
    for whole in candidates:
        drawn = [
            sample(leaf.shape, leaf.dtype, i in whole, number)
            for i, leaf in enumerate(leaves)
        ]
        x = keras.tree.pack_sequence_as(structure, drawn)
        # The errors of the model for inputs that it refuses do not matter.
        with contextlib.suppress(Exception):
            calls.call_without_side_effects(model, x)
            return x
    raise ValueError(
        f"No numbers were found on which {model.name!r} runs. Pass x, an array (or a list or "
        "dict of arrays) of a few samples."
    )


def of_built(model: keras.Model) -> Any:
    """Returns inputs of the shapes that a model was built with.

    Raises:
        ValueError: If the shapes are not known.
    """
    shapes = None if of_graph(model) is not None else _built_shape(model)
    if shapes is None:
        return _inputs_of_model(model)
    return keras.tree.map_shape_structure(_normal_sample, shapes)


def of_graph(model: keras.Model) -> Any:
    """Returns the symbolic inputs of a Sequential or Functional model, else None."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.built else None
    # A subclassed model that was called in another model has an `input`, in another structure.
    return model.input if isinstance(model, keras.Function) else None


def closed_shape(shape: tuple, number: int = SAMPLES) -> tuple[int, ...]:
    """Returns a shape with a number of samples, and with sizes for all axes of unknown size."""
    open_size = OPEN_SIZES.get(len(shape), DEFAULT_OPEN_SIZE)
    return (number, *(open_size if size is None else size for size in shape[1:]))


def of_function() -> Iterator[tf.TensorSpec]:
    """Yields specifications of the tensor that a function may accept."""
    for dtype in ("float32", "float64"):
        for shape in _SHAPES:
            yield tf.TensorSpec((SAMPLES, *shape), dtype)


def of_layer(layer: keras.layers.Layer) -> Iterator[tuple]:
    """Yields arguments that a layer may accept.

    First are those of the shapes it was built with, then those of its inputs in a graph.
    """

    def specification(shape: tuple, dtype: str = layer.compute_dtype) -> tf.TensorSpec:
        return tf.TensorSpec(closed_shape(shape), dtype)

    shapes = _built_shape(layer) if layer.built else None
    if shapes is not None:
        named = "input_shape" not in (layer.get_build_config() or {})
        inputs = keras.tree.map_shape_structure(specification, shapes)
        yield tuple(inputs.values()) if named else (inputs,)
    # Keras raises an error for a layer that is in no graph.
    with contextlib.suppress(AttributeError):
        specs = [specification(x.shape, x.dtype) for x in keras.tree.flatten(layer.input)]
        yield from (tuple(specs), (specs,))
    for shape in _SHAPES:
        x = specification((None, *shape))
        yield from ((x,), ([x, x],), (x, x))


def as_input(specification: tf.TensorSpec) -> keras.KerasTensor:
    """Returns a symbolic input with which a layer can be built."""
    return keras.Input(batch_shape=specification.shape, dtype=specification.dtype.name)


def sample(
    shape: tuple, dtype: str, whole: bool = False, number: int = SAMPLES
) -> tf.Tensor:
    """Returns a random input: normal numbers, or integers and booleans of 0 and 1.

    Args:
        shape: The shape of a batch, in which None is an unknown size.
        dtype: The dtype of the input.
        whole: Whether floats are also drawn from 0 and 1, as for indices.
        number: The number of samples.
    """
    shape = closed_shape(shape, number)
    rng = np.random.default_rng(SEED)
    if dtype == "string":
        return tf.fill(shape, "a")
    is_normal = "float" in dtype and not whole
    numbers = rng.normal(size=shape) if is_normal else rng.integers(0, 2, shape)
    return tf.cast(tf.constant(numbers), dtype)


def _normal_sample(shape: tuple) -> tf.Tensor:
    return sample(shape, "float32")


def _built_shape(layer: keras.layers.Layer) -> Any:
    config = layer.get_build_config() or {}
    return config.get("input_shape") or config.get("shapes_dict")


def _try_shapes(
    layer: keras.layers.Layer, copied: Callable
) -> tuple[keras.layers.Layer, tuple]:
    for shape in _SHAPES:
        x = _normal_sample((None, *shape))
        copy = copied(layer)
        # The errors of the layer for shapes that it refuses do not matter.
        with contextlib.suppress(Exception):
            copy(x)
            return copy, (x,)
    raise ValueError(
        f"No shape of inputs was found that suits {layer.name!r}. Pass x, an array (or a "
        "list or dict of arrays) of a few samples."
    )
