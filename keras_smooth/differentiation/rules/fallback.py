"""Nested tapes for one layer: what carries jets where there is no rule."""

import math
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from keras_smooth import registry
from keras_smooth.jet import Jet
from keras_smooth.models.calls import accepts_training


def jets(*structures) -> list[Jet]:
    """Returns the jets in structures of arguments."""
    return [leaf for leaf in keras.tree.flatten(structures) if isinstance(leaf, Jet)]


def unframed(*structures) -> tuple:
    """Returns structures of arguments whose jets have one curve for each direction."""
    return keras.tree.map_structure(
        lambda x: x.unframed() if isinstance(x, Jet) else x, structures
    )


def call(operation: Callable, args: tuple, kwargs: dict):
    """Calls a layer in inference mode, or an operation or function."""
    if isinstance(operation, keras.layers.Layer) and accepts_training(operation.call):
        kwargs = {**kwargs, "training": False}
    return operation(*args, **kwargs)


def taped(operation: Callable, args: tuple, kwargs: dict):
    """Differentiates t -> operation(sum_k x_k t^k / k!) at 0 with nested tapes.

    The directions are folded into the batch, so that each has its own t.
    """
    args, kwargs = unframed(args, kwargs)
    found = jets(args, kwargs)
    leader = found[0]
    lead = max(x.directions for x in found)
    curves = {id(x): _curve(x, lead) for x in found}
    t = tf.zeros([lead * _batch(leader)], leader.dtype)

    def function(t):
        def moved(x):
            return _at(curves[id(x)], t) if isinstance(x, Jet) else x

        return call(operation, *keras.tree.map_structure(moved, (args, kwargs)))

    entries = series(function, t, leader.order, operation)

    def packed(primal, *values):
        batch = _batch(leader)
        values = [tf.reshape(v, (lead, batch, *v.shape[1:])) for v in values]
        if leader.collapsed:
            values[-1] = tf.reduce_sum(values[-1], axis=0, keepdims=True)
        return leader.like(primal[:batch], values)

    return keras.tree.map_structure(packed, *entries)


def _batch(x: Jet):
    return x.shape[0] or tf.shape(x.primal)[0]


def _curve(x: Jet, lead: int) -> list[tf.Tensor]:
    """Returns x_k / k! for each k, with the directions folded into the batch."""
    tiled = tf.broadcast_to(x.primal, tf.concat([[lead], tf.shape(x.primal)], axis=0))
    values = [tiled, *(_spread(x, k, lead) for k in range(1, x.order + 1))]
    return [
        tf.reshape(value, (-1, *x.shape[1:])) / math.factorial(k)
        for k, value in enumerate(values)
    ]


def _spread(x: Jet, k: int, lead: int) -> tf.Tensor:
    """Returns entry k with one row for each direction.

    A sum over the directions counts as the row of the first: the result, linear in the
    last entry, is summed again.
    """
    value = x.entry(k)
    if x.collapsed and k == x.order:
        rest = tf.zeros(tf.concat([[lead - 1], tf.shape(value)[1:]], axis=0), value.dtype)
        return tf.concat([value, rest], axis=0)
    shape = tf.concat([[lead], tf.shape(value)[1:]], axis=0)
    return tf.broadcast_to(value, shape)


def _at(coefficients: Sequence[tf.Tensor], t: tf.Tensor) -> tf.Tensor:
    t = tf.reshape(
        tf.cast(t, coefficients[0].dtype), (-1,) + (1,) * (coefficients[0].shape.rank - 1)
    )
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = coefficient + t * total
    return total


def series(function: Callable, t: tf.Tensor, order: int, operation: Callable) -> list:
    """Returns a function of t and its derivatives, for one t a sample.

    Args:
        function: Maps t, of shape `(batch,)`, to a structure of tensors `(batch, ...)`.
        t: Where to differentiate.
        order: Number of derivatives.
        operation: What is being differentiated, for error messages.

    Raises:
        ValueError: If a derivative is lost on the way.
    """
    if order == 0:
        return [function(t)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(t)
        entries = series(function, t, order - 1, operation)
    slopes = keras.tree.map_structure(
        lambda value: _push_forward(tape, value, t, order, operation), entries[-1]
    )
    return [*entries, slopes]


def _push_forward(tape, value: tf.Tensor, t: tf.Tensor, order: int, operation) -> tf.Tensor:
    """Returns dvalue/dt by two reverse sweeps: the first is linear in its seed.

    Source: J. Townsend, 2017, "A new trick for calculating Jacobian vector products".
    """
    if not value.dtype.is_floating:
        raise ValueError(lost(operation, order, f"its output is {value.dtype.name}"))
    seed = tf.ones_like(value)
    with tf.GradientTape() as inner:
        inner.watch(seed)
        try:
            row = tape.gradient(value, t, output_gradients=seed)
        except LookupError as error:
            raise ValueError(lost(operation, order, error.args[0])) from error
    slope = None if row is None else inner.gradient(row, seed)
    if slope is not None:
        return slope
    smoothness = _smoothness(operation)
    if smoothness is None or smoothness < order:
        raise ValueError(lost(operation, order, "TensorFlow finds no path to it"))
    return tf.zeros_like(value)


def _smoothness(operation: Callable) -> float | None:
    return registry.smoothness(operation) if callable(operation) else None


def lost(operation: Callable, order: int, cause: object) -> str:
    """Returns the message that a derivative is lost, with the layer that loses it."""
    name = getattr(operation, "name", getattr(operation, "__name__", repr(operation)))
    smoothness = _smoothness(operation)
    kind = "unknown smoothness" if smoothness is None else f"C^{smoothness}"
    return (
        f"The derivative of order {order} is lost in {name} "
        f"({type(operation).__name__}, {kind}): {cause}. Replace it by something smooth; "
        "where the derivative is truly 0, add 0 * x**order to say so."
    )
