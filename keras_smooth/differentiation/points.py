"""Points: the inputs of a model, some of which move and some of which are held fixed."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.differentiation import moving_inputs
from keras_smooth.models import checked_inputs

# Number of samples that are drawn, enough to detect mixed samples.
_MOST_DRAWN = 64
_SEED = (3, 5)


@dataclasses.dataclass(frozen=True)
class Points:
    """Inputs of a model, some of which move, while the others are held fixed.

    Args:
        x: All inputs, tensors in the structure that the model accepts.
        places: Which of the flat inputs move.
        keys: The keys of these where x is a dict, else None.
        single: Whether derivatives are by one tensor, without a structure.
        names: Of the inputs that move, their keys, names or places in x.
    """

    x: object
    places: tuple[int, ...]
    keys: tuple | None
    single: bool
    names: tuple = (0,)

    @functools.cached_property
    def flat(self) -> list[tf.Tensor]:
        return keras.tree.flatten(self.x)

    @property
    def moving(self) -> list[tf.Tensor]:
        return [self.flat[place] for place in self.places]

    @property
    def dims(self) -> list[int]:
        """How many numbers a sample of each moving input has."""
        sizes = [tensor.shape[1:].num_elements() for tensor in self.moving]
        if None in sizes:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in self.moving)
            raise ValueError(
                f"The size of a sample must be known, received points of shape {shapes}. Give "
                "it in the tf.TensorSpec of the function, or by tf.ensure_shape."
            )
        return sizes

    @property
    def dtype(self) -> tf.DType:
        return self.moving[0].dtype

    def structured(self, values: Sequence) -> Any:
        """Returns values of the moving inputs in the structure of the derivatives."""
        if self.single:
            return values[0]
        if len(values) == len(self.flat):
            return keras.tree.pack_sequence_as(self.x, list(values))
        if self.keys is not None:
            return dict(zip(self.keys, values, strict=True))
        return list(values)

    def filled(self, values: Sequence) -> list:
        """Returns the flat inputs with other values of those that move."""
        flat = list(self.flat)
        for place, value in zip(self.places, values, strict=True):
            flat[place] = value
        return flat

    def whole(self, values: Sequence) -> Any:
        """Returns the model's argument with other values of the moving inputs."""
        return keras.tree.pack_sequence_as(self.x, self.filled(values))

    def at(self, flat: Sequence[tf.Tensor]) -> "Points":
        """Returns the same inputs for other samples."""
        return dataclasses.replace(self, x=keras.tree.pack_sequence_as(self.x, list(flat)))

    def moved_by(self, some: Sequence[int]) -> "Points":
        """Returns the same inputs, of which some of those that move do so."""
        return dataclasses.replace(
            self,
            places=tuple(self.places[i] for i in some),
            keys=None if self.keys is None else tuple(self.keys[i] for i in some),
            names=tuple(self.names[i] for i in some),
        )


def checked_points(model: Callable, x: Any, wrt: Any = None) -> Points:
    """Returns the points of a model.

    Args:
        model: Model, layer or function.
        x: One array of points, or a list, tuple or dict of arrays.
        wrt: The name or place of the input that moves, or a list of them; None is all
            that hold floats.

    Raises:
        TypeError: If the model cannot be called, or an input that moves holds no floats.
        ValueError: If the model is not built or is quantized, x does not fit it, is empty
            or not finite, or `wrt` names no input.
    """
    checked_inputs.check_callable(model)
    checked_inputs.check_not_quantized(model)
    inputs = checked_inputs.inputs(model, x)
    places = moving_inputs.places(inputs, wrt)
    tensors = moving_inputs.cast(model, inputs, places)
    nested = checked_inputs.is_structure(x)
    names = [inputs[place].name for place in places]
    return Points(
        x=checked_inputs.packed_as(x, tensors),
        places=places,
        keys=tuple(names) if isinstance(x, dict) else None,
        single=not nested or isinstance(wrt, (str, int)),
        names=tuple(names) if nested else (0,),
    )


def sample_axes(point: tf.Tensor) -> tuple[int, ...]:
    """Returns the axes that one derivative appends: none if a sample is one number."""
    return () if math.prod(point.shape[1:]) == 1 else tuple(point.shape[1:])


def drawn(points: Points) -> Points:
    """Returns a few random samples with given shapes."""
    size = next((x.shape[0] for x in points.flat if x.shape[0] is not None), 4)

    def normal(x: tf.Tensor) -> tf.Tensor:
        shape = [min(size, _MOST_DRAWN), *x.shape[1:]]
        if not x.dtype.is_floating:
            return tf.zeros(shape, x.dtype)
        return tf.cast(tf.random.stateless_normal(shape, _SEED), x.dtype)

    return points.at(list(map(normal, points.flat)))


def random_directions(points: Points, seed: int) -> tuple[tf.Tensor, ...]:
    """Returns numbers of both signs and like sizes in the shape of each moving input.

    Of a small number, what depends on that entry alone would keep few digits.
    """
    rng = np.random.default_rng(seed)

    def numbers(x: tf.Tensor) -> tf.Tensor:
        signed = rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.75, 1.5, x.shape)
        return tf.cast(signed, x.dtype)

    return tuple(map(numbers, points.moving))


def checked_directions(
    points: Points, direction: Any, name: str = "`direction`"
) -> tuple[tf.Tensor, ...]:
    """Returns a direction for each moving input, with its shape.

    Raises:
        TypeError: If a direction holds no real numbers.
        ValueError: If it has the structure or shape of no input.
    """
    if points.single:
        return (_direction(name, "x", points.moving[0], direction),)
    like, pairs = points.structured(points.moving), []
    try:
        # In the order of the moving inputs.
        keras.tree.map_structure_up_to(
            like, lambda x, v: pairs.append((x, v)), like, direction
        )
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must have the structure of the inputs that derivatives are taken "
            f"by, {checked_inputs.outline(like)}; received {shown(direction)}."
        ) from None
    return tuple(_direction(name, "its input", *pair) for pair in pairs)


def _direction(name: str, word: str, x: tf.Tensor, direction: Any) -> tf.Tensor:
    direction = checked_inputs.real_numbers(name, direction, x.dtype)
    if direction.shape.is_compatible_with(x.shape):
        return direction
    if not direction.shape.is_compatible_with(x.shape[1:]):
        raise ValueError(
            f"{name} must have the shape of {word}, {tuple(x.shape)}, or of a sample, "
            f"{tuple(x.shape[1:])}; received {tuple(direction.shape)}."
        )
    return tf.broadcast_to(direction, tf.shape(x))
