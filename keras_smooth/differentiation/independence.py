"""Whether the samples of a batch are independent, as every derivative by sample takes them.

Of a model that subtracts the mean of its batch, tapes give the sum of what all samples do
to one input: no derivative of any sample, and another number in another batch.
"""

import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth import registry
from keras_smooth.differentiation import tapes
from keras_smooth.differentiation.cross_check import ROUNDING
from keras_smooth.models import calls, graph, sample_inputs

MIXES = (
    "its output for a sample depends on the other samples of the batch, so that it has no "
    "derivatives by sample"
)
# Of so few samples all are looked at, not three of them: `keras.ops.add` takes a column of as
# many numbers as there are features for a bias of the features (Keras 3.10 to 3.15).
FEW = 512
# What is found independent stays so, few samples for as many.
_independent: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def check(model: Callable, x: Any, training: bool = False) -> None:
    """Raises if the output of a model for a sample depends on the others.

    A model of known layers is not looked at: these mix no samples but for
    BatchNormalization in training mode. In a graph the comparison is part of the graph,
    which raises InvalidArgumentError; XLA knows no errors, so that in training mode samples
    like x are compared before that.

    Args:
        model: Model, layer or function.
        x: Its argument, tensors of shape `(batch, ...)`.
        training: Whether layers run in training mode.

    Raises:
        ValueError: If it does.
    """
    if training:
        _refuse_batch_statistics(model)
    key = _size(x), training
    if _is_known_as_independent(model, key):
        return
    if training and not tf.executing_eagerly() and _mixes_samples_like(model, x):
        raise ValueError(_words(model, training))
    compare = _agrees_in_training if training else _agrees
    agrees = calls.without_trace(compare, lambda x: tapes.call(model, x, training), x)
    if tf.is_tensor(agrees):
        tf.debugging.Assert(agrees, [_words(model, training)])
    elif not agrees:
        raise ValueError(_words(model, training))
    else:
        _remember(model, key)


def _words(model: Callable, training: bool) -> str:
    mode = " in training mode" if training else ""
    return (
        f"The model {_name(model)} mixes samples{mode}: {MIXES}. "
        "Compute each sample from its own input alone."
    )


def _name(model: Callable) -> str:
    return repr(getattr(model, "name", repr(model)))


def _refuse_batch_statistics(model: Callable) -> None:
    """Raises if a layer normalizes by the batch in training mode."""
    for layer in _known_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            raise ValueError(
                f"{layer.name} ({type(layer).__name__}) normalizes by the statistics of the "
                f"batch in training mode, so that in {_name(model)} {MIXES}: set its "
                "`trainable` to False, which has it use its moving statistics, or use "
                "LayerNormalization in its place."
            )


def _known_layers(part: Any) -> list:
    """Returns the layers that surely run in the mode in which a model is called."""
    if graph.is_graph(part):
        return [layer for each in graph.inner(part) for layer in _known_layers(each)]
    return [part, *(layer for each in graph.wrapped(part) for layer in _known_layers(each))]


def _size(x: Any) -> int | None:
    """Returns the number of samples if they are few and can be counted, else None."""
    size = keras.tree.flatten(x)[0].shape[0]
    return size if tf.executing_eagerly() and size is not None and size <= FEW else None


def _is_known_as_independent(model: Callable, key: tuple[int | None, bool]) -> bool:
    try:
        return key in _independent.get(model, ()) or not may_mix(model)
    # Not every function can be remembered.
    except TypeError:
        return not may_mix(model)


def _remember(model: Callable, key: tuple[int | None, bool]) -> None:
    try:
        _independent.setdefault(model, set()).add(key)
    except TypeError:
        pass


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


def _agrees(function: Callable, x: Any) -> Any:
    """Returns whether samples have the same output in other company, in graphs a tensor."""
    size = keras.tree.flatten(x)[0].shape[0]
    if size == 1 and not tf.executing_eagerly():
        return True
    several, number = _company(x)
    try:
        # Alone in one of two sizes of a batch: Keras may be wrong in the other.
        for copies in sorted({1, 2, 3} - {number})[:2]:
            agrees = _agrees_at_ends(function, x, several, number, copies)
            if agrees is not False:
                return agrees
        return False
    # It may take batches of one size only.
    except Exception:
        pass
    try:
        return size is None or _agrees_at_ends(function, x, x, size, size)
    # There is nothing to compare.
    except Exception:
        return True


def _mixes_samples_like(model: Callable, x: Any) -> bool:
    """Returns whether a layer mixes samples of the shape of x, compared outside of graphs."""
    if not isinstance(model, keras.layers.Layer):
        return False

    def call(x):
        return tapes.call(model, x, training=True)

    # In the scope of a graph variables may have values of that graph.
    with tf.init_scope(), keras.StatelessScope():
        samples = keras.tree.map_structure(
            lambda tensor: sample_inputs.sample(tensor.shape, tensor.dtype.name), x
        )
        return not calls.without_trace(_agrees_in_training, call, samples)


def _agrees_in_training(function: Callable, x: Any) -> Any:
    """As `_agrees`, where random numbers are the same in each call.

    They are so in batches of one size, each of which begins with the same seeds.
    """
    several, number = _company(x)

    def seeded(x):
        return calls.without_trace(function, x)

    try:
        return number == 1 or _agrees_at_ends(seeded, x, several, number, number)
    # There is nothing to compare.
    except Exception:
        return True


def _company(x: Any) -> tuple[Any, int]:
    """Returns samples with the first and the last of x, and how many: all if they are few."""
    size = _size(x)
    return (_rows(x, [0, 0.5, 1]), 3) if size is None else (x, size)


def _agrees_at_ends(
    function: Callable, x: Any, several: Any, size: int, copies: int
) -> Any:
    """Returns whether the first and the last of several samples are what they are alone.

    Args:
        function: Of x.
        x: Tensors of shape `(batch, ...)`.
        several: Some of their samples, with the first and the last.
        size: How many.
        copies: How many of one sample to take where it is alone.
    """
    outputs, found = keras.tree.flatten(function(several)), []
    for part, end in ((0, slice(1)), (1, slice(-1, None))):
        alone, again = (
            keras.tree.flatten(function(_rows(x, [part] * copies))) for _ in range(2)
        )
        for one, other, repeated in zip(outputs, alone, again):
            if _are_of_samples(one, size) and _are_of_samples(other, copies):
                found.append(_same(one[end], other[end], repeated[end]))
    if all(isinstance(each, bool) for each in found):
        return all(found)
    return tf.reduce_all([tf.convert_to_tensor(each) for each in found])


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


def _same(several: tf.Tensor, alone: tf.Tensor, again: tf.Tensor) -> Any:
    """Returns whether a sample is what it is alone, or is another one each time."""
    # Half of the digits: far above rounding, far below what other samples do.
    tolerance = ROUNDING[alone.dtype.name] ** 0.5
    several, alone, again = (tf.cast(each, "float64") for each in (several, alone, again))
    largest = tf.reduce_max(tf.abs(several)) + tf.reduce_max(tf.abs(alone))
    same = tf.reduce_max(tf.abs(several - alone)) <= tolerance * largest
    is_random = tf.reduce_any(again != alone)
    found = same | is_random | ~tf.math.is_finite(largest)
    return bool(found) if hasattr(found, "numpy") else found
