"""Nested tapes for one layer: what carries jets where there is no rule."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.differentiation import tapes
from keras_smooth.jet import Jet
from keras_smooth.models.calls import accepts_training
from keras_smooth.models.tracing import traced

# Of float16 and coarser, summed in another order.
_ROUNDING = 1e-2


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
        # What the graph itself says comes first.
        bound = inspect.signature(operation.call).bind_partial(*args, **kwargs)
        if bound.arguments.get("training") is None:
            kwargs = {**kwargs, "training": False}
    return operation(*args, **kwargs)


def taped(operation: Callable, args: tuple, kwargs: dict):
    """Differentiates t -> operation(sum_k x_k t^k / k!) at 0 with nested tapes.

    The directions are folded into the batch, so that each has its own t, unless there are
    other tensors among the arguments, whose batch has each sample once.
    """
    args, kwargs = unframed(args, kwargs)
    found = jets(args, kwargs)
    if max(x.directions for x in found) > 1 and _has_tensors(args, kwargs):
        return _one_by_one(operation, args, kwargs)
    return _folded(operation, args, kwargs, found)


def _has_tensors(*structures) -> bool:
    leaves = keras.tree.flatten(structures)
    return any(not isinstance(x, Jet) and getattr(x, "ndim", 0) for x in leaves)


def _one_by_one(operation: Callable, args: tuple, kwargs: dict):
    """Differentiates along one direction after the other."""
    found = jets(args, kwargs)
    leader, lead = found[0], max(x.directions for x in found)

    def single(x, direction):
        if not isinstance(x, Jet):
            return x
        entries = (_spread(x, k, lead) for k in range(1, x.order + 1))
        return Jet(x.primal, [entry[direction : direction + 1] for entry in entries])

    def of(direction):
        moved = keras.tree.map_structure(lambda x: single(x, direction), (args, kwargs))
        return _folded(operation, *moved, jets(moved))

    def packed(*ys):
        series = [tf.concat(entries, axis=0) for entries in zip(*(y.series for y in ys))]
        if leader.collapsed:
            series[-1] = tf.reduce_sum(series[-1], axis=0, keepdims=True)
        return leader.like(ys[0].primal, series)

    return keras.tree.map_structure(packed, *map(of, range(lead)))


def _folded(operation: Callable, args: tuple, kwargs: dict, found: list[Jet]):
    leader = found[0]
    lead = max(x.directions for x in found)
    if leader.shape[0] is None:
        _refuse_joined(operation, args, kwargs)
    curves = {id(x): _curve(x, lead) for x in found}
    t = tf.zeros([lead * _batch(leader)], leader.dtype)

    def function(t):
        def moved(x):
            return _at(curves[id(x)], t) if isinstance(x, Jet) else x

        try:
            y = call(operation, *keras.tree.map_structure(moved, (args, kwargs)))
        except tf.errors.InvalidArgumentError as error:
            if lead == 1:
                raise
            # The sizes that it was given suit the batch, but not all directions at once.
            raise _mixes(operation) from error
        for value in keras.tree.flatten(y):
            _refuse_mixed(operation, value, lead, leader)
        return y

    entries = tapes.slopes(function, t, leader.order, operation)

    def packed(primal, *values):
        batch = _batch(leader)
        values = [tf.reshape(v, (lead, batch, *v.shape[1:])) for v in values]
        if leader.collapsed:
            values[-1] = tf.reduce_sum(values[-1], axis=0, keepdims=True)
        return leader.like(primal[:batch], values)

    return keras.tree.map_structure(packed, *entries)


# Which no axis but that of the samples has.
_PRIME = 97


def _refuse_joined(operation: Callable, args: tuple, kwargs: dict) -> None:
    """Raises where an operation makes more or fewer samples of a number not known yet."""

    def known(leaf):
        shape = getattr(leaf, "shape", None)
        if not (isinstance(leaf, Jet) or tf.is_tensor(leaf)) or not shape or shape[0]:
            return None
        return tf.TensorSpec([_PRIME, *shape[1:]], leaf.dtype)

    leaves = keras.tree.flatten((args, kwargs))
    specs = [known(leaf) for leaf in leaves]

    def called(*values):
        values = iter(values)
        moved = [leaf if s is None else next(values) for leaf, s in zip(leaves, specs)]
        return call(operation, *keras.tree.pack_sequence_as((args, kwargs), moved))

    try:
        given = [spec for spec in specs if spec is not None]
        program: Any = traced(called)
        outputs = program.get_concrete_function(*given).structured_outputs
    # It may take batches of other sizes only.
    except Exception:
        return
    if any(
        y.shape[:1].as_list() not in ([None], [_PRIME]) for y in keras.tree.flatten(outputs)
    ):
        raise _mixes(operation)


def _refuse_mixed(operation: Callable, value: tf.Tensor, lead: int, leader: Jet) -> None:
    """Raises where a result shows that an operation does not keep samples apart."""
    size, batch = value.shape[:1].as_list() or [0], leader.shape[0]
    keeps = None in (size[0], batch) or size[0] == lead * batch
    if keeps and lead > 1 and tf.executing_eagerly() and value.dtype.is_floating:
        # All directions start at the same points.
        tiles = tf.reshape(value, (lead, -1))
        size = 1.0 + tf.reduce_max(tf.abs(tiles))
        keeps = bool(tf.reduce_all(tf.abs(tiles - tiles[:1]) <= _ROUNDING * size))
    if not keeps:
        raise _mixes(operation)


def _mixes(operation: Callable) -> ValueError:
    name = getattr(operation, "name", getattr(operation, "__name__", "a function"))
    return ValueError(
        f"{name} ({type(operation).__name__}) mixes the samples of a batch, or their axis "
        "with others; engine='jet' takes each sample by itself. Take engine='tape'."
    )


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
