"""The column `sample_axes` of the table, see operations/sample_axes.py."""

import string
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.operations.lifting import static_axes
from keras_smooth.operations.program import Program
from keras_smooth.operations.rows import add_column
from keras_smooth.operations.sample_axes import (
    Axes,
    Axis,
    as_merged,
    axes_of_samples,
    merged,
    of_merged,
)
from keras_smooth.operations.table.functions import FUNCTIONS
from keras_smooth.operations.walk import body_names, fixed_point


def _shape(operation: tf.Operation, index: int = 0) -> tf.TensorShape:
    return operation.inputs[index].shape


def _constant(operation: tf.Operation, index: int) -> Any:
    return tf.get_static_value(operation.inputs[index])


def _named_axes(operation: tf.Operation, index: int, of: int = 0) -> set[int]:
    """Returns the axes that are the input at `index`. They are axes of the input at `of`."""
    return set(static_axes(operation.inputs[index], _shape(operation, of).rank))


def _single(axes: Iterable[Any]) -> Any:
    """Returns the only axis, or letter, that is not None. Several, or none, are an error."""
    (axis,) = {axis for axis in axes if axis is not None}
    return axis


def _unmixed(axis: Any, is_separate: bool = True) -> Any:
    """Returns the axis of the samples. It is an error if it is None or samples are mixed."""
    if axis is None or not is_separate:
        raise ValueError("the samples are mixed")
    return axis


def _of_input(function: Callable, index: int = 0) -> Callable:
    """For operations of which only the input at `index` may depend on samples, along an axis.

    Args:
        function: `function(operation, axis)` returns the axis in the output.
        index: The position of the input; -1 is the last.
    """

    def axis_of(operation: tf.Operation, axes: Axes, program: Program) -> Any:
        others = list(axes)
        axis = others.pop(index)
        is_only_one = all(other is None for other in others)
        return function(operation, _unmixed(axis, is_only_one))

    return axis_of


def _elementwise(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    """For elementwise operations, whose inputs broadcast."""
    shape = operation.outputs[0].shape
    pairs = [(x.shape, a) for x, a in zip(operation.inputs, axes) if a is not None]
    axis = shape.rank - _single(sizes.rank - a for sizes, a in pairs)
    return _unmixed(axis, {sizes[a] for sizes, a in pairs} == {shape[axis]})


def _same_axes(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    """For operations that return their inputs."""
    return list(axes[: len(operation.outputs)])


def _unchanged(operation: tf.Operation, axis: int) -> int:
    return axis


def _batch_of(index: int) -> Callable:
    """For operations on a batch, whose samples are along axis 0 of the input at `index`."""
    return _of_input(lambda operation, axis: _unmixed(axis, axis == 0), index)


def _except_named_axes(index: int, of: int = 0) -> Callable:
    """For operations that mix the input at `of` only along the axes in the input at `index`."""

    def axis_of(operation: tf.Operation, axis: int) -> Any:
        return _unmixed(axis, axis not in _named_axes(operation, index, of))

    return _of_input(axis_of, of)


def _except_last_axes(number: int) -> Callable:
    """For operations that mix only along the last `number` axes."""

    def axis_of(operation: tf.Operation, axes: Axes, program: Program) -> Any:
        ranks = [x.shape.rank for x in operation.inputs]
        pairs = zip(ranks, axes)
        axis = max(ranks) + _single(a if a is None else a - rank for rank, a in pairs)
        return _unmixed(axis, axis < max(ranks) - number)

    return axis_of


def _reshaped(operation: tf.Operation, axes: Sequence[Axis], program: Program) -> Any:
    """For a reshape after which one axis has all samples, maybe merged with other axes."""
    old, new = _shape(operation), operation.outputs[0].shape
    axis = as_merged(_unmixed(axes[0]))
    # The order of entries stays the same: the samples are where the products of the sizes before
    # and after them are the same. The number of samples may be unknown.
    before = _product(old[: axis.axis]) * axis.outer
    after = _product(old[axis.axis + 1 :]) * axis.inner
    size = old[axis.axis]
    num_samples = None if size is None else size // (axis.outer * axis.inner)
    for index in range(new.rank):
        outer, outer_rest = divmod(before, _product(new[:index]))
        inner, inner_rest = divmod(after, _product(new[index + 1 :]))
        merged_size = None if num_samples is None else outer * num_samples * inner
        has_all_samples = outer_rest == inner_rest == 0 < min(outer, inner)
        if has_all_samples and new[index] == merged_size:
            return merged(index, outer, inner)
    return _unmixed(None)


def _product(shape: tf.TensorShape) -> int:
    """Returns the number of entries. An unknown size is an error."""
    return int(shape.num_elements())


# Substitutes for unknown sizes: more samples than the bounds of slices, and few entries along other
# axes, since the size of an array in NumPy is below 2**63.
_OPEN_SAMPLES, _OPEN_SIZE = 2**31, 2**8


def _axis_in_view(shape: tf.TensorShape, axis: Any, view: Callable) -> int | None:
    """Returns the position of an axis in a view of an array, or None if it is cut there."""
    open_sizes = [_OPEN_SAMPLES if i == axis else _OPEN_SIZE for i in range(shape.rank)]
    sizes = [default if n is None else n for n, default in zip(shape, open_sizes)]
    # Only the strides of this array may be read, since it has the memory of a single entry. The
    # stride is 1 along this axis and 0 along all others, which identifies it in the view.
    steps = [int(i == axis) for i in range(shape.rank)]
    array = np.lib.stride_tricks.as_strided(np.zeros(1, np.int8), sizes, steps)
    result = view(array)
    axes = [i for i, step in enumerate(result.strides) if step == 1]
    is_whole = bool(axes) and result.shape[axes[0]] == sizes[axis]
    return axes[0] if is_whole and result.ctypes.data == array.ctypes.data else None


def _by_view(view: Callable) -> Callable:
    """For operations that are `view(operation, x, *others)` in NumPy, a view of the array x."""

    def axis_of(operation: tf.Operation, axis: int) -> Any:
        others = [_constant(operation, i) for i in range(1, len(operation.inputs))]
        is_known = all(other is not None for other in others)
        shape = _unmixed(_shape(operation), is_known)
        return _unmixed(_axis_in_view(shape, axis, lambda x: view(operation, x, *others)))

    return _of_input(axis_of)


def _first_entries(operation: tf.Operation, x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Returns the first entries along the reduced axes, a view with the shape of the reduction."""
    # ArgMax and ArgMin have no such attribute.
    first = slice(1) if operation.node_def.attr["keep_dims"].b else 0
    reduced = {int(axis) % x.ndim for axis in axes.ravel()}
    return x[tuple(first if i in reduced else slice(None) for i in range(x.ndim))]


def _numpy_index(operation: tf.Operation, *numbers: Any) -> tuple:
    """Returns the index of a strided slice in NumPy."""
    names = ("ellipsis", "new_axis", "shrink_axis", "begin", "end")
    masks = [operation.get_attr(f"{name}_mask") for name in names]
    index: list[Any] = []
    for bit, (first, last, step) in enumerate(zip(*numbers, strict=True)):
        is_rest, is_new, is_one_entry, is_from_start, is_to_end = (
            mask >> bit & 1 for mask in masks
        )
        if is_rest:
            index.append(Ellipsis)
        elif is_new:
            index.append(None)
        elif is_one_entry:
            index.append(first)
        else:
            begin, end = None if is_from_start else first, None if is_to_end else last
            index.append(slice(begin, end, step))
    # With an ellipsis, NumPy returns a view, not a copy, even for a single entry.
    return tuple(index) if masks[0] else (*index, Ellipsis)


def _sliced(operation: tf.Operation, axis: int) -> Any:
    """For slices that contain the whole axis of the samples."""
    begin, size = _constant(operation, 1), _constant(operation, 2)
    # If the number of samples is unknown, so is that of a part of them.
    whole = _keeps_size(operation, axis) or size is not None and size[axis] == -1
    return _unmixed(axis, whole and begin is not None and begin[axis] == 0)


def _keeps_size(operation: tf.Operation, axis: int) -> bool:
    """Returns whether an axis is known to have the same size in the first input and the output."""
    return _shape(operation)[axis] == operation.outputs[0].shape[axis] is not None


def _slice_gradient(operation: tf.Operation, axis: int) -> Any:
    """For the gradient of a strided slice: the axis that the slice maps to that of the samples."""
    index = _numpy_index(operation, *(_constant(operation, n) for n in (1, 2, 3)))
    shape = operation.outputs[0].shape
    positions = [_axis_in_view(shape, i, lambda x: x[index]) for i in range(shape.rank)]
    return positions.index(axis)


def _concatenated(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    axis = _single(axes)
    return _unmixed(axis, axis not in _named_axes(operation, len(axes) - 1))


def _stacked(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    new_axis = operation.get_attr("axis") % operation.outputs[0].shape.rank
    axis = _single(axes)
    return axis + (new_axis <= axis)


def _gathered(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    (gathered_axis,), dims = _named_axes(operation, 2), operation.get_attr("batch_dims")
    indices = _shape(operation, 1).rank
    dims %= indices + 1
    if axes[0] is None:
        # Entries of a constant table are gathered by indices that depend on the samples.
        axis = _unmixed(axes[1])
        return gathered_axis + axis - dims if axis >= dims else axis
    is_separate = axes[1] is None or axes[0] == axes[1] < dims
    axis = _unmixed(axes[0], is_separate and axes[0] != gathered_axis)
    return axis if axis < gathered_axis else axis - 1 + indices - dims


def _by_segments(operation: tf.Operation, axis: int) -> Any:
    """For reductions over segments, whose numbers replace the first axes."""
    reduced = _shape(operation, 1).rank
    return _unmixed(axis, axis >= reduced) - reduced + 1


def _tiled(operation: tf.Operation, axis: int) -> Any:
    times = _constant(operation, 1)
    is_single = _keeps_size(operation, axis) if times is None else times[axis] == 1
    return _unmixed(axis, is_single)


def _padded(operation: tf.Operation, axis: int) -> Any:
    padding = _constant(operation, 1)
    return _unmixed(axis, padding is not None and not padding[axis].any())


def _broadcast_to(operation: tf.Operation, axis: int) -> Any:
    old, new = _shape(operation), operation.outputs[0].shape
    moved = new.rank - old.rank + axis
    return _unmixed(moved, new[moved] == old[axis])


def _by_letters(terms: Sequence[str], result: str, axes: Axes) -> int:
    """Returns the axis of the samples in a product that is written as in einsum.

    It is an error if the result does not have its letter, which is then summed over.
    """
    pairs = zip(terms, axes)
    letters = (term[axis] for term, axis in pairs if axis is not None)
    return result.index(_single(letters))


def _product_of_matrices(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    attributes = operation.node_def.attr
    pairs = (("xy", "transpose_a", "adj_x"), ("yz", "transpose_b", "adj_y"))
    matrices = [m[::-1] if attributes[a].b or attributes[b].b else m for m, a, b in pairs]
    ranks = [x.shape.rank for x in operation.inputs]
    batch = string.ascii_lowercase[: max(ranks) - 2]
    terms = [batch[max(ranks) - rank :] + m for rank, m in zip(ranks, matrices)]
    return _by_letters(terms, batch + "xz", axes)


def _summed_product(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    terms, result = operation.get_attr("equation").decode().split("->")
    return _by_letters(_unmixed(terms.split(","), "." not in result), result, axes)


def _called(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    (name,) = body_names(operation)
    return axes_of_samples(program.bodies(name), axes)


def _of_branches(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    values = _unmixed(axes[1:], axes[0] is None)
    bodies = map(program.bodies, body_names(operation))
    return _common_axes(*(axes_of_samples(body, values) for body in bodies))


def _common_axes(*several: Sequence[Axis]) -> list[Axis]:
    """Returns the axis of each output, which must be the same in all alternatives or None."""
    return [None if set(axes) == {None} else _single(axes) for axes in zip(*several)]


def _of_loop(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    condition, body = map(program.bodies, body_names(operation))
    after = fixed_point(
        lambda axes: _common_axes(axes, axes_of_samples(body, axes)), list(axes)
    )
    return _unmixed(after, axes_of_samples(condition, after) == [None])


def _set_in_list(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    # The axis of a list is the axis in the tensor of its stacked elements.
    item = None if axes[-1] is None else axes[-1] + 1
    return _common_axes([axes[0]], [item])


_COLUMNS = {
    _elementwise: " ".join(FUNCTIONS)
    + (
        " Abs Add AddN AddV2 Angle Atan2 Ceil ClipByValue Complex ComplexAbs Conj Div "
        "DivNoNan Elu Equal Floor FloorDiv FloorMod Greater GreaterEqual Imag IsFinite "
        "IsInf IsNan LeakyRelu Less LessEqual LogicalAnd LogicalNot LogicalOr Maximum "
        "Minimum Mod Mul MulNoNan Neg NotEqual Polygamma Pow Real RealDiv Relu Relu6 "
        "Rint Round SelectV2 Selu SigmoidGrad Sign SoftplusGrad Softsign "
        "SquaredDifference Sub TanhGrad TruncateDiv TruncateMod Xdivy Xlog1py Xlogy"
    ),
    _same_axes: (
        "Cast CheckNumerics CheckNumericsV2 EnsureShape Identity IdentityN PreventGradient "
        "Snapshot StopGradient"
    ),
    _of_input(_unchanged): "BiasAdd BiasAddV1 TensorListFromTensor TensorListStack",
    _batch_of(0): (
        "AvgPool AvgPool3D Conv Conv2D Conv3D DepthToSpace DepthwiseConv2dNative "
        "ExtractImagePatches ImageProjectiveTransformV3 MaxPool MaxPool3D ResizeArea "
        "ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate SpaceToDepth"
    ),
    _batch_of(2): (
        "Conv2DBackpropInput Conv3DBackpropInputV2 DepthwiseConv2dNativeBackpropInput"
    ),
    _except_named_axes(1): "Cumprod Cumsum CumulativeLogsumexp ReverseV2",
    _except_named_axes(2): "Roll SplitV",
    _except_named_axes(0, of=1): "Split",
    _except_last_axes(1): "Cross FFT IFFT IRFFT LogSoftmax RFFT Softmax TopKV2",
    _except_last_axes(2): (
        "Cholesky FFT2D IFFT2D MatrixBandPart MatrixInverse MatrixSolve "
        "MatrixTriangularSolve LogMatrixDeterminant MatrixDeterminant SelfAdjointEigV2 Svd"
    ),
    _by_view(_first_entries): "All Any ArgMax ArgMin EuclideanNorm Max Mean Min Prod Sum",
    _by_view(lambda operation, x, order: x.transpose(order)): "Transpose",
    _by_view(lambda operation, x, axis: np.expand_dims(x, axis.item())): "ExpandDims",
    _by_view(
        lambda operation, x: x.squeeze(tuple(operation.get_attr("squeeze_dims")) or None)
    ): "Squeeze",
    _by_view(
        lambda operation, x: np.moveaxis(x, operation.get_attr("axis"), 0)[0]
    ): "Unpack",
    _by_view(
        lambda operation, x, *numbers: x[_numpy_index(operation, *numbers)]
    ): "StridedSlice",
    _of_input(_sliced): "Slice",
    _of_input(_slice_gradient, -1): "StridedSliceGrad",
    _concatenated: "ConcatV2",
    _stacked: "Pack",
    _gathered: "GatherV2",
    _of_input(_by_segments): (
        "SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum UnsortedSegmentMax "
        "UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum"
    ),
    _of_input(_tiled): "Tile",
    _of_input(_padded): "MirrorPad Pad PadV2",
    _of_input(_broadcast_to): "BroadcastTo",
    _product_of_matrices: "BatchMatMul BatchMatMulV2 BatchMatMulV3 MatMul",
    _summed_product: "Einsum",
    _called: "PartitionedCall StatefulPartitionedCall",
    _of_branches: "If StatelessIf",
    _of_loop: "StatelessWhile While",
    _set_in_list: "TensorListPushBack TensorListSetItem",
    _of_input(lambda operation, axis: _unmixed(axis, axis > 0) - 1): "TensorListGetItem",
}
for _function, _kinds in _COLUMNS.items():
    add_column(_kinds, sample_axes=of_merged(_function))
add_column("Reshape", sample_axes=_reshaped)
