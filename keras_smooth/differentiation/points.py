"""Points: the inputs of a model. Derivatives are with respect to those that move."""

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.models import calls, checked_inputs
from keras_smooth.models.checked_inputs import Input, listed

# The largest number of random samples, enough to detect a model that mixes samples.
_MAX_RANDOM = 64
_SEED = (3, 5)


@dataclasses.dataclass(frozen=True)
class Points:
    """Inputs of a model, some of which move; derivatives are with respect to these.

    Args:
        x: All inputs, tensors in the structure that the model accepts.
        places: The indices of the moving inputs among the flat inputs.
        single: Whether derivatives have no structure of inputs, since one tensor moves.
        names: The keys, names or indices in x of the moving inputs.
    """

    x: object
    places: tuple[int, ...]
    single: bool
    names: tuple = (0,)

    @functools.cached_property
    def flat(self) -> list[tf.Tensor]:
        return keras.tree.flatten(self.x)

    @property
    def moving(self) -> list[tf.Tensor]:
        return [self.flat[i] for i in self.places]

    @property
    def dims(self) -> list[int]:
        """The size of a sample of each moving input."""
        sizes = [tensor.shape[1:].num_elements() for tensor in self.moving]
        if None in sizes:
            raise ValueError(
                f"The size of a sample must be known, received {listed(self.moving)}. Give it in "
                "the tf.TensorSpec of the function, or by tf.ensure_shape."
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
        if isinstance(self.x, dict):
            return dict(zip(self.names, values, strict=True))
        return list(values)

    def flat_with(self, values: Sequence) -> list:
        """Returns the flat inputs with other values of the moving inputs."""
        flat = list(self.flat)
        for i, value in zip(self.places, values, strict=True):
            flat[i] = value
        return flat

    def with_moving(self, values: Sequence) -> "Points":
        """Returns the points with other values of the moving inputs."""
        return self.at(self.flat_with(values))

    def moved(self, t: Any, directions: Sequence[tf.Tensor]) -> "Points":
        """Returns the points x + t v, for a number t and a direction v of each sample."""
        return self.with_moving(
            [
                x + v * tf.reshape(tf.cast(t, x.dtype), (-1, *[1] * (x.shape.rank - 1)))
                for x, v in zip(self.moving, directions, strict=True)
            ]
        )

    def at(self, flat: Sequence[tf.Tensor]) -> "Points":
        """Returns other samples of the same inputs."""
        return dataclasses.replace(self, x=keras.tree.pack_sequence_as(self.x, list(flat)))

    def moving_only(self, inputs: Sequence[int]) -> "Points":
        """Returns the same points, with only some of the moving inputs still moving."""
        return dataclasses.replace(
            self,
            places=tuple(self.places[i] for i in inputs),
            names=tuple(self.names[i] for i in inputs),
        )


def as_points(x: Any) -> Points:
    """Returns tensors as points. Those of floats move."""
    flat = keras.tree.flatten(x)
    places = tuple(i for i, leaf in enumerate(flat) if calls.is_float(leaf))
    return Points(x=x, places=places, single=len(flat) == 1)


def checked_points(model: Callable, x: Any, wrt: Any = None) -> Points:
    """Returns the points of a model.

    Args:
        model: Model, layer or function.
        x: One array of points, or a list, tuple or dict of arrays.
        wrt: The name or index of the input that moves, or a list of these; None is all
            inputs that hold floats.

    Raises:
        TypeError: If the model cannot be called, or an input that moves holds no floats.
        ValueError: If the model is not built or is quantized, x does not fit it, is empty
            or not finite, or `wrt` names no input.
    """
    checked_inputs.check_callable(model)
    checked_inputs.check_not_quantized(model)
    inputs = checked_inputs.inputs(model, x)
    moving = _moving_indices(inputs, wrt)
    tensors = _cast(model, inputs, moving)
    nested = checked_inputs.is_structure(x)
    names = [inputs[i].name for i in moving]
    return Points(
        x=checked_inputs.packed_as(x, tensors),
        places=moving,
        single=not nested or isinstance(wrt, (str, int)),
        names=tuple(names) if nested else (0,),
    )


def _moving_indices(inputs: list[Input], wrt: Any) -> tuple[int, ...]:
    """Returns the indices of the moving inputs, in the order of x."""
    if wrt is None:
        # Integers are an error if a model expects floats, but a function may expect them.
        moving = [each.is_float or each.expected is not None for each in inputs]
        chosen = [i for i, each in enumerate(inputs) if each.expects_floats and moving[i]]
    else:
        several = isinstance(wrt, (list, tuple, set, frozenset))
        chosen = [_index_of(inputs, name) for name in (wrt if several else [wrt])]
        if not chosen or len(set(chosen)) < len(chosen):
            words = "must name each input once, at least one"
            raise ValueError(f"`wrt` {words}; received {shown(wrt)}.")
    wrong = [inputs[i] for i in chosen if not inputs[i].is_float]
    if wrong or not chosen:
        raise TypeError(_no_floats_message((wrong or inputs)[0]))
    return tuple(sorted(chosen))


def _index_of(inputs: list[Input], name: Any) -> int:
    """Returns the index of an input from its name or index."""
    if isinstance(name, str):
        return _index_of_name(inputs, name)
    try:
        index = operator.index(name)
    except TypeError:
        words = "`wrt` must be names or places of inputs"
        raise TypeError(f"{words}, received {shown(name)}.") from None
    if isinstance(name, bool) or not 0 <= index < len(inputs):
        raise ValueError(_no_input_message(inputs, name))
    return index


def _index_of_name(inputs: list[Input], name: str) -> int:
    """Returns the index of an input from its key in x, or else from the name of its tensor."""
    keys = [each.name for each in inputs]
    names = [getattr(each.expected, "name", None) for each in inputs]
    for known in (keys, names):
        if known.count(name) == 1:
            return known.index(name)
    choices = [key for key in keys if str(key).startswith(f"{name}/")]
    if name in keys or name in names:
        choices = list(range(len(inputs)))
    if choices:
        raise ValueError(
            f"`wrt`: {name!r} names several inputs. Name one, or several in a list, of "
            f"{listed(choices)}."
        )
    raise ValueError(_no_input_message(inputs, name))


def _no_input_message(inputs: list[Input], name: Any) -> str:
    known = listed(each.name for each in inputs)
    return f"`wrt` names no input: received {shown(name)}, the inputs are {known}."


def _no_floats_message(each: Input) -> str:
    is_text = each.tensor.dtype == tf.string
    kind = "text" if is_text else each.tensor.dtype.name
    conversion = "" if is_text else ", or convert it, as by x.astype('float64')"
    return (
        f"The points must be floats to take derivatives, but {each.word} holds {kind}. Name "
        f"the inputs to differentiate by with wrt={conversion}."
    )


def _cast(model: Callable, inputs: list[Input], moving: Sequence[int]) -> list[tf.Tensor]:
    """Returns the tensors, with floats cast to the dtype of the model's weights."""
    dtype, to_cast = weights_dtype(model), set(moving)
    if dtype is None:
        # The widest dtype of the moving inputs is used for all of them.
        dtype = max((inputs[i].tensor.dtype for i in moving), key=lambda each: each.size)
    else:
        to_cast = {
            i for i, each in enumerate(inputs) if each.is_float and each.expects_floats
        }
    return [
        tf.cast(each.tensor, dtype) if i in to_cast else each.tensor
        for i, each in enumerate(inputs)
    ]


def weights_dtype(model: Callable) -> str | None:
    """Returns the dtype of a model's weights, None if it has none."""
    # Not model.dtype, which is float32 for a Sequential model of float64 layers.
    dtypes = (weight.dtype for weight in getattr(model, "weights", []))
    return next((dtype for dtype in dtypes if dtype.startswith(("float", "bfloat"))), None)


def sample_axes(point: tf.Tensor) -> tuple[int, ...]:
    """Returns the sizes of the axes that one derivative appends: none for one number."""
    return () if math.prod(point.shape[1:]) == 1 else tuple(point.shape[1:])


def random_points(points: Points) -> Points:
    """Returns a few random samples with the shapes of the points."""
    size = next((x.shape[0] for x in points.flat if x.shape[0] is not None), 4)

    def normal(x: tf.Tensor) -> tf.Tensor:
        shape = [min(size, _MAX_RANDOM), *x.shape[1:]]
        if not x.dtype.is_floating:
            return tf.zeros(shape, x.dtype)
        return tf.cast(tf.random.stateless_normal(shape, _SEED), x.dtype)

    return points.at(list(map(normal, points.flat)))


def random_directions(points: Points, seed: int) -> tuple[tf.Tensor, ...]:
    """Returns numbers of both signs and similar sizes in the shape of each moving input.

    A small number would leave few digits of an output that depends on that number alone.
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
        ValueError: If its structure or shape does not fit the moving inputs.
    """
    if points.single:
        return (_direction(name, "x", points.moving[0], direction),)
    like, pairs = points.structured(points.moving), []
    try:
        # Collect pairs in the order of the moving inputs.
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
