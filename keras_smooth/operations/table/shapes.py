"""Reshapes, slices, paddings, concatenations and other rearrangements of entries."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import map_entries
from keras_smooth.operations.lifting import (
    add_linear,
    axes_of_entry,
    full_jet,
    lift_first_axes,
    lift_last_axes,
    lift_named_axes,
    linear_rule,
    run,
)
from keras_smooth.operations.rows import add


def _shape_of_entry(value: tf.Tensor, shape: Any) -> Any:
    """Returns the shape of an entry, from the shape of its primal."""
    known = tf.get_static_value(shape)
    if known is not None:
        return [value.shape[0], *known.tolist()]
    shape = tf.convert_to_tensor(shape)
    return tf.concat([tf.cast(tf.shape(value)[:1], shape.dtype), shape], axis=0)


def _with_first(numbers: Any, first: int = 0) -> tf.Tensor:
    """Returns a number or row for each axis, with one in front for the axis of directions."""
    numbers = tf.convert_to_tensor(numbers)
    row = tf.fill(tf.concat([[1], tf.shape(numbers)[1:]], axis=0), first)
    return tf.concat([tf.cast(row, numbers.dtype), numbers], axis=0)


def _reshape(operation: tf.Operation, x: Jet, shape: Any) -> Jet:
    y = run(operation, [x.primal, shape])
    if not _keeps_samples(x, y):
        return map_entries(
            full_jet(x), y, lambda v: tf.reshape(v, _shape_of_entry(v, shape))
        )
    target = tf.convert_to_tensor(shape)[1:]
    ones = tf.ones([1], target.dtype)

    def reshaped(v: tf.Tensor) -> tf.Tensor:
        first = ones if v.shape[1] == 1 else tf.cast(tf.shape(v)[1:2], target.dtype)
        return tf.reshape(v, _shape_of_entry(v, tf.concat([first, target], axis=0)))

    return map_entries(x, y, reshaped)


def _keeps_samples(x: Jet, y: tf.Tensor) -> bool:
    """Returns whether a reshape keeps samples apart, so that they can still share entries."""
    old, new = x.shape, y.shape
    if not old.rank or not new.rank or None in old[1:] or None in new[1:]:
        return False
    return old[1:].num_elements() == new[1:].num_elements() != 0


def _squeezed(operation: tf.Operation, v: tf.Tensor) -> tf.Tensor:
    axes = operation.get_attr("squeeze_dims")
    rank = v.shape.rank - 1
    if not axes:
        axes = [axis for axis, size in enumerate(v.shape[1:]) if size == 1]
    return tf.squeeze(v, [axis % rank + 1 for axis in axes]) if axes else v


def _transposed(operation: tf.Operation, v: tf.Tensor, order: Any) -> tf.Tensor:
    return tf.transpose(v, tf.concat([[0], axes_of_entry(order)], axis=0))


def _sliced(operation: tf.Operation, v: tf.Tensor, begin: Any, size: Any) -> tf.Tensor:
    return tf.slice(v, _with_first(begin), _with_first(size, -1))


_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def _strided_slice(
    operation: tf.Operation, v: tf.Tensor, begin: Any, end: Any, strides: Any
) -> tf.Tensor:
    return tf.raw_ops.StridedSlice(
        input=v, **_shifted_slice(operation, begin, end, strides)
    )


def _slice_gradient(
    operation: tf.Operation, shape: Any, begin: Any, end: Any, strides: Any, v: tf.Tensor
) -> tf.Tensor:
    shape = tf.concat([tf.shape(v, shape.dtype)[:1], shape], axis=0)
    sliced = _shifted_slice(operation, begin, end, strides)
    return tf.raw_ops.StridedSliceGrad(shape=shape, dy=v, **sliced)


def _shifted_slice(
    operation: tf.Operation, begin: Any, end: Any, strides: Any
) -> dict[str, Any]:
    """Returns the arguments of a strided slice of an entry, with the whole axis of directions."""
    masks = {name: operation.get_attr(name) << 1 for name in _MASKS}
    masks["begin_mask"] |= 1
    masks["end_mask"] |= 1
    return {
        "begin": _with_first(begin),
        "end": _with_first(end),
        "strides": _with_first(strides, 1),
        **masks,
    }


def _padded(operation: tf.Operation, v: tf.Tensor, padding: Any, *value: Any) -> tf.Tensor:
    return tf.pad(v, _with_first(padding))


def _unstacked(operation: tf.Operation, v: tf.Tensor) -> list:
    axis = operation.get_attr("axis")
    return tf.unstack(v, num=operation.get_attr("num"), axis=axis + (axis >= 0))


add("Reshape", _reshape, exact=True)
add_linear("ExpandDims ReverseV2 Roll SplitV", lift_named_axes)
add_linear("Squeeze", _squeezed)
add_linear("Transpose", _transposed)
add_linear("ConjugateTranspose", lambda o, v, order: tf.math.conj(_transposed(o, v, order)))
add_linear("Slice", _sliced)
add_linear("StridedSlice", _strided_slice)
add_linear("StridedSliceGrad", _slice_gradient, slice(4, 5))


def _padding_rule(lift: Callable, last: int) -> Callable:
    """Returns the rule of an operation that is linear in its first input and pads with its last."""
    held, both = linear_rule(lift), linear_rule(None, slice(0, None, last))

    def rule(operation: tf.Operation, *inputs: Any) -> Any:
        selected = both if isinstance(inputs[last], Jet) else held
        return selected(operation, *inputs)

    return rule


add_linear("Pad", _padded)
add("PadV2", _padding_rule(_padded, 2), left_out=((2, 0),))
add_linear("MirrorPad", lambda o, v, padding: run(o, [v, _with_first(padding)]))
add_linear("Unpack", _unstacked)
add_linear("Tile", lambda o, v, times: run(o, [v, _with_first(times, 1)]))


def _broadcast(operation: tf.Operation, value: tf.Tensor, shape: Any) -> tf.Tensor:
    missing = tf.size(shape) - (value.shape.rank - 1)
    ones = tf.ones([missing], tf.int32)
    sizes = tf.shape(value)
    value = tf.reshape(value, tf.concat([sizes[:1], ones, sizes[1:]], axis=0))
    return tf.broadcast_to(value, _shape_of_entry(value, shape))


add_linear("BroadcastTo", _broadcast)
add_linear("Split", lambda o, axis, v: run(o, [axes_of_entry(axis), v]), slice(1, 2))


def _concatenated(operation: tf.Operation, *inputs: Any) -> tf.Tensor:
    *values, axis = inputs
    return tf.concat(values, axes_of_entry(axis))


def _stacked(operation: tf.Operation, *values: Any) -> tf.Tensor:
    axis = operation.get_attr("axis")
    return tf.stack(values, axis + (axis >= 0))


add_linear("ConcatV2", _concatenated, slice(-1))
add_linear("Pack", _stacked, slice(None))
add_linear("BatchToSpaceND SpaceToBatchND", lift_first_axes)

# These operations work on the last axes, for any axes in front.
add_linear("MatrixBandPart MatrixDiag MatrixDiagPart", lift_last_axes)


def _diagonals(operation: tf.Operation, v: tf.Tensor, *others: Any) -> tf.Tensor:
    # The padding is constant, so that its derivatives are 0.
    *settings, value = others
    return run(operation, [v, *settings, tf.zeros_like(value)])


add("MatrixDiagPartV2 MatrixDiagPartV3", _padding_rule(_diagonals, 2), left_out=((2, 0),))
add("MatrixDiagV2 MatrixDiagV3", _padding_rule(_diagonals, 4), left_out=((4, 0),))
