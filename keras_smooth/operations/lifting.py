"""How a function of tensors is applied to the entries of a jet, whose first axis is that of
the directions."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import aligned
from keras_smooth.jet.entries import Entry, folded
from keras_smooth.operations.program import signature

_MOST_FOLDED = 1000


def run(operation: tf.Operation, inputs: Sequence) -> Any:
    """Computes an operation for other inputs.

    Args:
        operation: A traced operation.
        inputs: Tensors, or variables in the place of their handles.

    Returns:
        Its output, or a list of several.
    """
    if operation.type == "Const":
        return tf.constant(tf.make_ndarray(operation.get_attr("value")))
    if operation.type == "ReadVariableOp" and isinstance(inputs[0], tf.Variable):
        return inputs[0].read_value()
    called = signature(operation)
    if called.function is None:
        raise ValueError(
            f"The operation {operation.type} ({operation.name}) cannot be run by itself. "
            "Use engine='tape'."
        )
    arguments = {name: operation.get_attr(own) for name, own in called.attributes}
    remaining = [getattr(x, "handle", x) for x in inputs]
    for name, count in zip(called.names, called.counts, strict=True):
        if count:
            size = operation.get_attr(count)
            size = size if isinstance(size, int) else len(size)
            arguments[name], remaining = remaining[:size], remaining[size:]
        else:
            arguments[name], *remaining = remaining
    return called.function(**arguments)


def run_folded(operation: tf.Operation, inputs: Sequence) -> Any:
    """Computes an operation; in a graph, integers that follow from constants are constants.

    XLA has the gradient of a loop only where its number of steps is a constant.
    """
    values = None if tf.executing_eagerly() else _constants(operation, inputs)
    if values is None:
        return run(operation, inputs)
    with tf.init_scope():
        results = run(operation, [tf.constant(value) for value in values])
        numbers = [result.numpy() for result in tf.nest.flatten(results)]
    folded = [tf.constant(number) for number in numbers]
    return tf.nest.pack_sequence_as(results, folded)


def _constants(operation: tf.Operation, inputs: Sequence) -> list | None:
    """Returns the inputs of an operation of a few integers, if they are constants."""
    if operation.op_def.is_stateful or not operation.inputs or not operation.outputs:
        return None
    tensors = (*operation.inputs, *operation.outputs)
    if not all(x.dtype.is_integer or x.dtype.is_bool for x in tensors):
        return None
    sizes = [x.shape.num_elements() for x in inputs]
    if any(size is None or size > _MOST_FOLDED for size in sizes):
        return None
    values = [tf.get_static_value(x) for x in inputs]
    return None if any(value is None for value in values) else values


def primal(x: Any) -> Any:
    """Returns the value of a jet, or what is no jet."""
    return x.primal if isinstance(x, Jet) else x


def run_primals(operation: tf.Operation, inputs: Sequence) -> Any:
    """Computes an operation for the points of its inputs."""
    return run(operation, [primal(x) for x in inputs])


def whole(x: Jet) -> Jet:
    """Returns a jet whose entries are as large as its primal, also where samples agree."""
    return x.like(x.primal, [_written_out(value, x.primal) for value in x.series])


def _written_out(value: Entry, like: tf.Tensor) -> Entry:
    if value is None or value.shape[1:] == like.shape and like.shape.is_fully_defined():
        return value
    lead = value.shape[0]
    shape = tf.concat([[lead], tf.shape(like)], axis=0)
    return tf.ensure_shape(tf.broadcast_to(value, shape), (lead, *like.shape))


def expanded(x: Any, rank: int) -> Any:
    """Returns a jet or tensor with axes of size 1 in front, so many that it has a rank."""
    missing = rank - primal(x).shape.rank
    if missing <= 0:
        return x
    if not isinstance(x, Jet):
        return tf.reshape(x, tf.concat([[1] * missing, tf.shape(x)], axis=0))
    return x.like(
        expanded(x.primal, rank),
        [None if value is None else _spaced(value, missing) for value in x.series],
    )


def _spaced(value: tf.Tensor, missing: int) -> tf.Tensor:
    for _ in range(missing):
        value = tf.expand_dims(value, 1)
    return value


def of_one_rank(*xs: Any) -> tuple:
    """Returns jets and tensors of the largest rank among them, with the same curves."""
    rank = max(primal(x).shape.rank for x in xs)
    return aligned(*(expanded(x, rank) for x in xs))


def batched(function: Callable[[Jet], Jet], x: Jet) -> Jet:
    """Applies a function of jets with a batch axis to a jet that has none of its own."""
    y = function(expanded(whole(x), x.shape.rank + 1))
    series = [None if value is None else tf.squeeze(value, 1) for value in y.series]
    return y.like(tf.squeeze(y.primal, 0), series)


def linear(lift: Callable) -> Callable:
    """Returns the rule of an operation that is linear in its first input.

    Args:
        lift: `lift(operation, entry, *others)` applies it to an entry, an axis of
            directions in front, with the other inputs of the operation.
    """

    def rule(operation: tf.Operation, x: Any, *others: Any) -> Any:
        if not isinstance(x, Jet) or any(isinstance(other, Jet) for other in others):
            # As a padding with a value that moves: not what the table speaks of.
            return NotImplemented
        x = whole(x)
        y = run(operation, [x.primal, *others])
        if not isinstance(y, list):
            return x.like(y, _each(lambda v: lift(operation, v, *others), x.series))
        lifted = _each(lambda v: lift(operation, v, *others), x.series)
        return [
            x.like(value, [None if entry is None else entry[i] for entry in lifted])
            for i, value in enumerate(y)
        ]

    return rule


def _each(function: Callable, series: Sequence[Entry]) -> list:
    return [None if value is None else function(value) for value in series]


def folded_linear(operation: tf.Operation, x: Any, *others: Any) -> Any:
    """The rule of an operation that is linear in its first input, axis 0 of which is a batch."""
    if not isinstance(x, Jet) or any(isinstance(other, Jet) for other in others):
        return NotImplemented

    def function(v: tf.Tensor) -> tf.Tensor:
        return run(operation, [v, *others])

    return x.like(function(x.primal), [folded(function, value) for value in x.series])


def behind(function: Callable[[tf.Tensor], tf.Tensor], value: tf.Tensor) -> tf.Tensor:
    """Applies a function that works along leading axes, with the directions as the last."""
    rank = value.shape.rank
    y = function(tf.transpose(value, [*range(1, rank), 0]))
    rank = y.shape.rank
    return tf.transpose(y, [rank - 1, *range(rank - 1)])


def joint(exact: Any, inputs: Sequence, lift: Callable) -> Jet:
    """Returns what is linear in several inputs together.

    Args:
        exact: Its value at the points.
        inputs: Jets and tensors.
        lift: `lift(values)` applies it to an entry of each input.
    """
    inputs = aligned(*(whole(x) if isinstance(x, Jet) else x for x in inputs))
    leader = next(x for x in inputs if isinstance(x, Jet))
    series = []
    for k in range(leader.order):
        values = [x.series[k] if isinstance(x, Jet) else None for x in inputs]
        leads = [value.shape[0] for value in values if value is not None]
        full = leads and [_filled(*pair, max(leads)) for pair in zip(inputs, values)]
        series.append(lift(full) if leads else None)
    return leader.like(exact, series)


def _filled(x: Any, value: Entry, lead: int) -> tf.Tensor:
    """Returns an entry with all directions, zeros where there is none."""
    point = tf.convert_to_tensor(primal(x))
    shape = tf.concat([[lead], tf.shape(point)], axis=0)
    full = tf.zeros(shape, point.dtype) if value is None else tf.broadcast_to(value, shape)
    return tf.ensure_shape(full, (lead, *point.shape))


def shifted(axes: Any) -> tf.Tensor:
    """Returns axes of a tensor as those of an entry, constants where they are constants."""
    known = tf.get_static_value(axes)
    if known is not None:
        return tf.constant(known + (known >= 0), tf.int32)
    axes = tf.cast(axes, tf.int32)
    return tf.where(axes >= 0, axes + 1, axes)


def static_axes(axes: Any, rank: int) -> list[int]:
    """Returns axes as numbers of at least 0."""
    value = tf.get_static_value(axes)
    if value is None:
        raise ValueError("an axis depends on values")
    return [int(axis) % rank for axis in (value.reshape(-1) if value.ndim else [value])]
