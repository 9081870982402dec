"""How operations are applied to the entries of a jet.

An entry has an axis of directions in front of the axes of the primal. To lift an operation means
to apply it to each direction of an entry.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import (
    as_jets,
    full_entry,
    lifted_joint,
    map_entries,
    primal,
)
from keras_smooth.jet.direction_basis import sizes_from
from keras_smooth.operations.program import signature
from keras_smooth.operations.rows import add, is_inexact

_MAX_CONSTANTS = 1000
# TensorFlow broadcasts at most so many groups of axes in a sum or product.
_MAX_GROUPS = 5


def run(operation: tf.Operation, inputs: Sequence) -> Any:
    """Runs a traced operation on other inputs.

    Args:
        operation: A traced operation.
        inputs: Tensors, or variables instead of their handles.

    Returns:
        Its output, or a list if it has several outputs.
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


def as_list(results: Any) -> list:
    """Returns the outputs of an operation as a list."""
    if results is None or isinstance(results, tf.Operation):
        return []
    return list(results) if isinstance(results, (list, tuple)) else [results]


def run_with_known_integers(operation: tf.Operation, inputs: Sequence) -> Any:
    """Runs an operation. In a graph, integers that are known during tracing become constants.

    XLA can differentiate a loop only if its number of steps is a constant.
    """
    values = None if tf.executing_eagerly() else _constant_inputs(operation, inputs)
    if values is None:
        return run(operation, inputs)
    with tf.init_scope():
        results = run(operation, [tf.constant(value) for value in values])
        numbers = tf.nest.map_structure(lambda result: result.numpy(), results)
    return tf.nest.map_structure(tf.constant, numbers)


def _constant_inputs(operation: tf.Operation, inputs: Sequence) -> list | None:
    """Returns the values of the inputs if all are small constants of integers, else None."""
    if operation.op_def.is_stateful or not operation.inputs or not operation.outputs:
        return None
    tensors = (*operation.inputs, *operation.outputs)
    if not all(x.dtype.is_integer or x.dtype.is_bool for x in tensors):
        return None
    sizes = [x.shape.num_elements() for x in inputs]
    if any(size is None or size > _MAX_CONSTANTS for size in sizes):
        return None
    values = [tf.get_static_value(x) for x in inputs]
    return None if any(value is None for value in values) else values


def run_primals(operation: tf.Operation, inputs: Sequence) -> Any:
    """Runs an operation on the primals of its inputs."""
    return run(operation, list(map(primal, inputs)))


def first_jet(values: Sequence) -> Any:
    """Returns the first jet among values, or None. All jets are along the same curves."""
    return next((value for value in values if isinstance(value, Jet)), None)


def full_jet(x: Any) -> Any:
    """Returns a jet whose entries have all samples: shared ones are broadcast."""
    if not isinstance(x, Jet):
        return x
    return map_entries(x, x.primal, lambda v: full_entry(x, v, v.shape[0]))


def _of_rank(x: Jet, rank: int) -> Jet:
    """Returns a jet whose primal has a given rank, with axes of size 1 added in front."""
    ones = [1] * (rank - x.shape.rank)
    if not ones:
        return x

    def expanded(v: tf.Tensor) -> tf.Tensor:
        return tf.reshape(v, [v.shape[0], *ones, *sizes_from(v, 1)])

    point = tf.reshape(x.primal, [*ones, *sizes_from(x.primal, 0)])
    return map_entries(x, point, expanded)


def same_rank(*xs: Any, least: int = 0) -> list[Jet]:
    """Returns jets and tensors as jets along the same curves, all of one rank, at least `least`."""
    jets = as_jets(*xs)
    rank = max(least, *(x.shape.rank for x in jets))
    return [_of_rank(x, rank) for x in jets]


def broadcastable(x: Any, y: Any) -> Sequence[Jet]:
    """Returns jets and tensors as jets of one rank, whose entries TensorFlow can broadcast.

    An entry has the axis of directions in addition, which can be a group too many.
    """
    x, y = same_rank(x, y)
    if _num_groups(x.shape, y.shape) < _MAX_GROUPS:
        return x, y
    shape = tf.broadcast_dynamic_shape(tf.shape(x.primal), tf.shape(y.primal))
    return [_broadcast_to(each, shape) for each in (x, y)]


def _num_groups(x: tf.TensorShape, y: tf.TensorShape) -> int:
    """Returns the number of groups of neighboring axes that are broadcast in the same way."""
    ways = [(m == 1, n == 1) for m, n in zip(x, y) if m != 1 or n != 1]
    return len(ways[:1]) + sum(way != after for way, after in zip(ways, ways[1:]))


def _broadcast_to(x: Jet, shape: tf.Tensor) -> Jet:
    point = tf.broadcast_to(x.primal, shape)
    return map_entries(x, point, lambda v: full_entry(point, v, v.shape[0]))


def with_batch_axis(function: Callable[[Jet], Jet], x: Jet) -> Jet:
    """Applies a function that expects a batch axis to a jet that has none."""
    y = function(_of_rank(full_jet(x), x.shape.rank + 1))
    return map_entries(y, tf.squeeze(y.primal, 0), lambda v: tf.squeeze(v, 1))


def linear_rule(lift: Callable | None = None, places: slice = slice(1)) -> Callable:
    """Returns the rule of an operation that is jointly linear in some of its inputs.

    Args:
        lift: `lift(operation, *inputs)` applies the operation to entries instead of these
            inputs. If None, the operation is applied to one direction at a time.
        places: Slice of these inputs; by default the first.
    """

    def rule(operation: tf.Operation, *inputs: Any) -> Any:
        others = list(inputs)
        del others[places]
        if any(isinstance(other, Jet) for other in others):
            # For example, an image is cropped to boxes that depend on x.
            return NotImplemented

        def applied(function: Callable, values: Sequence) -> Any:
            arguments = list(inputs)
            arguments[places] = values
            return function(operation, *arguments)

        def lifted(*values: tf.Tensor) -> Any:
            if lift is not None:
                return applied(lift, values)
            by_direction = zip(*map(tf.unstack, values))
            results = [applied(lift_last_axes, entries) for entries in by_direction]
            return tf.nest.map_structure(lambda *ys: tf.stack(ys), *results)

        exact = run_primals(operation, inputs)
        y = lifted_joint(exact, lifted, inputs[places])
        if not isinstance(exact, list):
            return y
        outputs = enumerate(exact)
        return [map_entries(y, output, lambda v, i=i: v[i]) for i, output in outputs]

    return rule


def add_linear(
    kinds: str, lift: Callable | None, places: slice = slice(1), **columns: Any
) -> None:
    """Adds rows of operations that are linear in some of their inputs, see `linear_rule`."""
    add(kinds, linear_rule(lift, places), exact=True, **columns)


def folded_linear_rule(operation: tf.Operation, x: Any, *others: Any) -> Any:
    """The rule of an operation that is linear in its first input, whose axis 0 is the batch.

    The axis of directions is merged with the batch axis.
    """
    if not isinstance(x, Jet) or any(isinstance(other, Jet) for other in others):
        return NotImplemented
    return jet.linear(lambda v: run(operation, [v, *others]), x)


def lift_last_axes(operation: tf.Operation, v: tf.Tensor, *others: Any) -> Any:
    """Lifts an operation that works on the last axes and accepts any axes in front."""
    return run(operation, [v, *others])


def lift_first_axes(operation: tf.Operation, *inputs: Any) -> tf.Tensor:
    """Lifts an operation that works on the first axes: the axis of directions is moved last.

    All inputs that are not integers are entries.
    """
    entries = [x for x in inputs if is_inexact(x.dtype)]

    def applied(*values: tf.Tensor) -> tf.Tensor:
        remaining = iter(values)
        return run(
            operation, [next(remaining) if is_inexact(x.dtype) else x for x in inputs]
        )

    return directions_last(applied, *entries)


def lift_named_axes(operation: tf.Operation, v: tf.Tensor, *others: Any) -> Any:
    """Lifts an operation whose last input is the axes on which it works."""
    *settings, axes = others
    return run(operation, [v, *settings, axes_of_entry(axes)])


def directions_last(function: Callable, *values: tf.Tensor) -> tf.Tensor:
    """Applies a function of leading axes to entries whose axis of directions is moved last."""
    y = function(*(tf.transpose(v, [*range(1, v.shape.rank), 0]) for v in values))
    last = y.shape.rank - 1
    return tf.transpose(y, [last, *range(last)])


def axes_of_entry(axes: Any) -> tf.Tensor:
    """Returns the axes of an entry for given axes of its primal. Constants stay constants."""
    known = tf.get_static_value(axes)
    if known is not None:
        return tf.constant(known + (known >= 0), tf.int32)
    axes = tf.cast(axes, tf.int32)
    return tf.where(axes >= 0, axes + 1, axes)


def static_axes(axes: Any, rank: int) -> list[int]:
    """Returns axes as a list of integers that are not negative."""
    value = tf.get_static_value(axes)
    if value is None:
        raise ValueError("an axis depends on values")
    return [int(axis) % rank for axis in (value.reshape(-1) if value.ndim else [value])]
