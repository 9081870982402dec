"""Whether the samples of a batch are independent, as every derivative by sample takes them.

Of a model that subtracts the mean of its batch, tapes give the sum of what all samples do
to one input: no derivative of any sample, and another number in another batch.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_smooth import registry
from keras_smooth.differentiation import tapes
from keras_smooth.differentiation.cross_check import ROUNDING
from keras_smooth.models import graph

MIXES = (
    "its output for a sample depends on the other samples of the batch, so that it has no "
    "derivatives by sample"
)
# Of so few samples all are looked at, not three of them: `keras.ops.add` takes a column of as
# many numbers as there are features for a bias of the features (Keras 3.10 to 3.15).
FEW = 512


def check(model: Callable, x: Any, training: bool = False) -> None:
    """Raises if the output of a model for a sample depends on the others.

    A model of known layers is not looked at: of these only BatchNormalization mixes samples,
    in training mode. In a graph the comparison is part of the graph, which raises
    InvalidArgumentError.

    Args:
        model: Model, layer or function.
        x: Its argument, tensors of shape `(batch, ...)`.
        training: Whether it is called in training mode.

    Raises:
        ValueError: If it does.
    """
    name = getattr(model, "name", repr(model))
    for part, mode in _calls(model, training):
        if mode and isinstance(part, keras.layers.BatchNormalization) and part.trainable:
            raise ValueError(
                f"The model {name!r} mixes samples: {MIXES}. The layer {part.name!r} "
                f"({type(part).__name__}) is called with training=True, where it uses the "
                "mean of the batch. Call it with training=False, or use LayerNormalization."
            )
    if not may_mix(model):
        return
    agrees = _agrees(lambda x: _called(model, x, training), x)
    words = (
        f"The model {name!r} mixes samples: {MIXES}. Compute each sample from its own input "
        "alone."
    )
    if tf.is_tensor(agrees):
        tf.debugging.Assert(agrees, [words])
    elif not agrees:
        raise ValueError(words)


def _calls(part: Callable, training: bool) -> Iterator[tuple[Any, bool]]:
    """Yields each layer or operation that a model is known to call, with its mode."""
    calls = graph.calls(part)
    if not calls:
        yield part, training
    for inner, mode in calls:
        yield from _calls(inner, training if mode is None else bool(mode))


def may_mix(model: Callable) -> bool:
    """Returns whether there is a part in a model of which it is not known that it does not."""
    if graph.is_graph(model):
        return any(map(may_mix, graph.inner(model)))
    # Operations take any axis, also that of the samples.
    known = isinstance(model, keras.layers.Layer) and not isinstance(model, keras.Model)
    return not known or registry.smoothness(model) is None


def mixes(function: Callable, x: Any) -> bool:
    """Returns whether the output of a function for a sample depends on the others.

    False where that cannot be told: of one sample, of random numbers.

    Args:
        function: Of x.
        x: Tensors of shape `(batch, ...)`.
    """
    return not _agrees(function, x)


def _called(model: Callable, x: Any, training: bool) -> Any:
    """Calls a model so that it stays as it is, and draws the same numbers each time."""
    variables = getattr(model, "variables", ())
    # A scope that the caller is in has other values for them.
    with keras.StatelessScope([(variable, variable.value) for variable in variables]):
        return tapes.call(model, x, training)


def _agrees(function: Callable, x: Any) -> Any:
    """Returns whether samples have the same output in other company, in graphs a tensor."""
    size = keras.tree.flatten(x)[0].shape[0]
    if size == 1 and not tf.executing_eagerly():
        return True
    is_small = tf.executing_eagerly() and size is not None and size <= FEW
    # It may take batches of one size only.
    for several in (x,) if is_small else (_rows(x, [0, 0.5, 1]), x):
        try:
            return _agrees_at_ends(function, several)
        # There is nothing to compare.
        except Exception:
            continue
    return True


def _agrees_at_ends(function: Callable, x: Any) -> Any:
    """Returns whether the first and the last sample are what they are among their likes."""
    size = keras.tree.flatten(x)[0].shape[0]
    # As many as before, since Keras may be wrong in a batch of one size; but not one alone.
    number = 2 if size == 1 else size
    outputs, again = (keras.tree.flatten(function(x)) for _ in range(2))
    found = []
    for end in (0, -1):
        likes = keras.tree.map_structure(
            functools.partial(_likes, end=end, number=number), x
        )
        for one, repeated, other in zip(
            outputs, again, keras.tree.flatten(function(likes)), strict=True
        ):
            if _are_of_samples(one, size) and _are_of_samples(other, number):
                first, second = (other[0], other[1]) if size == 1 else (one, repeated)
                found.append(_same(one[end], other[end], tf.reduce_any(first != second)))
    if all(isinstance(each, bool) for each in found):
        return all(found)
    return tf.reduce_all([tf.convert_to_tensor(each) for each in found])


def _likes(leaf: tf.Tensor, end: int, number: int | None) -> tf.Tensor:
    """Returns as many copies of a sample."""
    copies = tf.repeat(leaf[end][None], number or tf.shape(leaf)[0], axis=0)
    return tf.ensure_shape(copies, [number, *leaf.shape[1:]])


def _rows(x: Any, parts: list[float]) -> Any:
    def rows(tensor):
        last = tf.cast(tf.shape(tensor)[0] - 1, "float64")
        places = tf.cast(tf.round(tf.constant(parts, "float64") * last), "int32")
        chosen = tf.gather(tensor, places)
        return tf.ensure_shape(chosen, [len(parts), *tensor.shape[1:]])

    return keras.tree.map_structure(rows, x)


def _are_of_samples(output: Any, size: int) -> bool:
    is_float = tf.is_tensor(output) and output.dtype.is_floating
    return is_float and output.shape.rank and output.shape[0] == size


def _same(several: tf.Tensor, alike: tf.Tensor, is_random: tf.Tensor) -> Any:
    """Returns whether a sample is what it is among its likes, or is random anyway."""
    # Half of the digits: far above rounding, far below what other samples do.
    tolerance = ROUNDING[alike.dtype.name] ** 0.5
    several, alike = (tf.cast(each, "float64") for each in (several, alike))
    largest = tf.reduce_max(tf.abs(several)) + tf.reduce_max(tf.abs(alike))
    same = tf.reduce_max(tf.abs(several - alike)) <= tolerance * largest
    found = same | is_random | ~tf.math.is_finite(largest)
    return bool(found) if hasattr(found, "numpy") else found
