"""The axis of the samples in the outputs of each kind of operation, a column of the table.

A function gets the axes of the inputs, at least one of which has samples. `NotImplemented` says
that the operation mixes samples, or that it cannot be told.
"""

from collections.abc import Callable, Container, Iterable
from typing import Any

import tensorflow as tf

from keras_smooth.operations.lifting import static_axes
from keras_smooth.operations.program import Program
from keras_smooth.operations.rows import add_column
from keras_smooth.operations.samples import Axes, axes_of_samples
from keras_smooth.operations.table.functions import FUNCTIONS
from keras_smooth.operations.walk import bodies_of


def _shape(operation: tf.Operation, place: int = 0) -> tf.TensorShape:
    return operation.inputs[place].shape


def _static(operation: tf.Operation, place: int) -> Any:
    return tf.get_static_value(operation.inputs[place])


def _touched(operation: tf.Operation, place: int, of: int = 0) -> set[int]:
    """Returns the axes of one input that another one names."""
    return set(static_axes(operation.inputs[place], _shape(operation, of).rank))


def _only(axes: Iterable[int | None]) -> int:
    """Returns the one axis that there is among some; several, or none, are an error."""
    (axis,) = {axis for axis in axes if axis is not None}
    return axis


def _apart(axis: int | None, touched: Container[int] = ()) -> int:
    """Returns the axis of the samples if it is none of some that are mixed."""
    if axis is None or axis in touched:
        raise ValueError("the samples are mixed")
    return axis


def _without(axis: int | None, dropped: set[int]) -> int:
    """Returns the place of the axis of the samples after others are gone."""
    axis = _apart(axis, dropped)
    return axis - sum(each < axis for each in dropped)


def _broadcast(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    """Of operations on single numbers, which broadcast from the last axis on."""
    shape = operation.outputs[0].shape
    pairs = [(x.shape, a) for x, a in zip(operation.inputs, axes) if a is not None]
    axis = shape.rank - _only(each.rank - a for each, a in pairs)
    return axis if {each[a] for each, a in pairs} == {shape[axis]} else NotImplemented


def _each(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    return list(axes[: len(operation.outputs)])


def _batch_of(place: int) -> Callable:
    """Of operations axis 0 of one of whose inputs is a batch."""

    def axis_of(operation: tf.Operation, axes: Axes, program: Program) -> Any:
        known = {i: axis for i, axis in enumerate(axes) if axis is not None}
        return 0 if known == {place: 0} else NotImplemented

    return axis_of


def _kept(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    """Of operations whose output has the axes of the first input."""
    return axes[0] if all(axis is None for axis in axes[1:]) else NotImplemented


def _along(place: int, of: int = 0) -> Callable:
    """Of operations that mix along the axes of one input that another one names alone."""
    return lambda operation, axes, program: _apart(axes[of], _touched(operation, place, of))


def _last(number: int) -> Callable:
    """Of operations that mix along the last axes alone."""

    def axis_of(operation: tf.Operation, axes: Axes, program: Program) -> Any:
        ranks = [x.shape.rank for x in operation.inputs]
        pairs = zip(ranks, axes)
        axis = max(ranks) + _only(a if a is None else a - rank for rank, a in pairs)
        return axis if axis < max(ranks) - number else NotImplemented

    return axis_of


def _reduced(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    touched = _touched(operation, 1)
    # What finds the place of the largest has no such attribute.
    keeps = operation.node_def.attr["keep_dims"].b
    return (_apart if keeps else _without)(axes[0], touched)


def _reshaped(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    def around(shape: tf.TensorShape, axis: int) -> list[int | None]:
        return [shape[:axis].num_elements(), shape[axis + 1 :].num_elements()]

    old, new, axis = _shape(operation), operation.outputs[0].shape, _apart(axes[0])
    sizes = around(old, axis)
    # Of an open size, what is before and behind it tells the place.
    if None in sizes:
        return NotImplemented
    candidates = (
        i for i in range(new.rank) if new[i] == old[axis] and around(new, i) == sizes
    )
    return next(candidates, NotImplemented)


def _transposed(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    order = static_axes(operation.inputs[1], _shape(operation).rank)
    return order.index(_apart(axes[0]))


def _expanded(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    (place,) = static_axes(operation.inputs[1], _shape(operation).rank + 1)
    axis = _apart(axes[0])
    return axis + (place <= axis)


def _squeezed(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    shape = _shape(operation)
    given = {axis % shape.rank for axis in operation.get_attr("squeeze_dims")}
    return _without(axes[0], given or {i for i, size in enumerate(shape) if size == 1})


def _sliced(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    """Of slices that leave the axis whole."""
    axis, begin = axes[0], _static(operation, 1)
    whole = _shape(operation)[axis] == operation.outputs[0].shape[axis]
    fine = begin is not None and begin[axis] == 0
    return axis if whole and fine and axes[1:] == [None, None] else NotImplemented


def _strided(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    axis, *others = axes
    held = all(other is None for other in others)
    return _after_slice(operation, axis, _shape(operation)) if held else NotImplemented


def _strided_back(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    """Of the gradient of such a slice: the axis that it brings to that of the slice."""
    *others, axis = axes
    shape = operation.outputs[0].shape
    if any(other is not None for other in others) or shape.rank is None:
        return NotImplemented
    sources = range(shape.rank)
    return next(
        (i for i in sources if _after_slice(operation, i, shape) == axis), NotImplemented
    )


def _after_slice(operation: tf.Operation, axis: Any, shape: tf.TensorShape) -> Any:
    """Returns where an axis is after a slice with steps: goes through what it says of each."""
    values = [_static(operation, place) for place in (1, 2, 3)]
    if axis is None or any(value is None for value in values):
        return NotImplemented
    masks = {
        name: operation.get_attr(f"{name}_mask")
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    rank, number = shape.rank, len(values[0])
    source = target = 0
    for place in range(number):
        says = {name: bool(mask >> place & 1) for name, mask in masks.items()}
        if says["ellipsis"]:
            later = number - place - 1 - bin(masks["new_axis"] >> (place + 1)).count("1")
            step = rank - source - later
            if source <= axis < source + step:
                return target + axis - source
            source, target = source + step, target + step
        elif says["new_axis"]:
            target += 1
        else:
            if source == axis:
                begin, end, stride = (value[place] for value in values)
                size = shape[source]
                starts = says["begin"] or begin == 0
                ends = says["end"] or (size is not None and end >= size)
                fine = starts and ends and stride == 1 and not says["shrink_axis"]
                return target if fine else NotImplemented
            source, target = source + 1, target + (not says["shrink_axis"])
    return target + axis - source


def _concatenated(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    *axes_of_tensors, last = axes
    touched = _touched(operation, len(axes_of_tensors))
    return _apart(_only(axes_of_tensors), touched) if last is None else NotImplemented


def _packed(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    place = operation.get_attr("axis") % operation.outputs[0].shape.rank
    axis = _only(axes)
    return axis + (place <= axis)


def _unpacked(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    return _without(axes[0], {operation.get_attr("axis") % _shape(operation).rank})


def _gathered(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    if operation.type != "GatherV2" or any(axis is not None for axis in axes[2:]):
        return NotImplemented
    (place,), dims = _touched(operation, 2), operation.get_attr("batch_dims")
    indices = _shape(operation, 1).rank
    dims %= indices + 1
    if axes[0] is None:
        # A table that no sample changes.
        axis = _apart(axes[1])
        return place + axis - dims if axis >= dims else axis
    if axes[1] is not None and not (axes[0] == axes[1] < dims) or axes[0] == place:
        return NotImplemented
    return axes[0] if axes[0] < place else axes[0] - 1 + indices - dims


def _tiled(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    times = _static(operation, 1)
    return axes[0] if times is not None and times[axes[0]] == 1 else NotImplemented


def _padded(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    padding = _static(operation, 1)
    fine = padding is not None and not padding[axes[0]].any()
    return axes[0] if fine and axes[1] is None else NotImplemented


def _widened(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    axis = operation.outputs[0].shape.rank - _shape(operation).rank + axes[0]
    same = operation.outputs[0].shape[axis] == _shape(operation)[axes[0]]
    return axis if same and axes[1] is None else NotImplemented


def _product_of_matrices(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    attributes = operation.node_def.attr
    turned = [
        attributes[a].b or attributes[b].b
        for a, b in (("transpose_a", "adj_x"), ("transpose_b", "adj_y"))
    ]
    ranks = [x.shape.rank for x in operation.inputs[:2]]

    def place_of(place: int, axis: int | None) -> int | None:
        size = ranks[place]
        if axis is None or axis < size - 2:
            return axis if axis is None else max(ranks) - size + axis
        is_row = (axis == size - 2) != turned[place]
        if is_row == (place == 1):
            raise ValueError("the samples are summed over")
        return max(ranks) - 2 + place

    return _only(place_of(*each) for each in enumerate(axes))


def _summed_product(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    terms, result = operation.get_attr("equation").decode().split("->")
    if "." in result:
        return NotImplemented
    pairs = zip(terms.split(","), axes)
    letter = _only(term[axis] for term, axis in pairs if axis is not None)
    return result.index(letter)


def _called(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    (name,) = bodies_of(operation)
    return axes_of_samples(program.bodies(name), axes)


def _of_branches(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    if axes[0] is not None:
        return NotImplemented
    bodies = map(program.bodies, bodies_of(operation))
    return _joined(*(axes_of_samples(body, axes[1:]) for body in bodies))


def _joined(*several: Axes) -> list[int | None]:
    """Returns the axes of what is one of several, all along one or without samples."""
    return [None if set(axes) == {None} else _only(axes) for axes in zip(*several)]


def _of_loop(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    condition, body = map(program.bodies, bodies_of(operation))
    before = None
    while axes != before:
        before = axes
        axes = _joined(axes, axes_of_samples(body, axes))
    return axes if axes_of_samples(condition, axes) == [None] else NotImplemented


def _set_in_list(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    # The axis of a list is that of its elements stacked.
    item = None if axes[-1] is None else axes[-1] + 1
    return _joined([axes[0]], [item])


def _got_from_list(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    return NotImplemented if not axes[0] else axes[0] - 1


_COLUMNS = {
    _broadcast: " ".join(FUNCTIONS)
    + (
        " Abs Add AddN AddV2 Angle Atan2 Ceil ClipByValue Complex ComplexAbs Conj Div "
        "DivNoNan Elu Equal Floor FloorDiv FloorMod Greater GreaterEqual Imag IsFinite "
        "IsInf IsNan LeakyRelu Less LessEqual LogicalAnd LogicalNot LogicalOr Maximum "
        "Minimum Mod Mul MulNoNan Neg NotEqual Polygamma Pow Real RealDiv Relu Relu6 "
        "Rint Round SelectV2 Selu SigmoidGrad Sign SoftplusGrad Softsign "
        "SquaredDifference Sub TanhGrad TruncateDiv TruncateMod Xdivy Xlog1py Xlogy"
    ),
    _each: (
        "Cast CheckNumerics CheckNumericsV2 EnsureShape Identity IdentityN PreventGradient "
        "Snapshot StopGradient"
    ),
    _kept: "BiasAdd BiasAddV1 TensorListFromTensor TensorListStack",
    _batch_of(0): (
        "AvgPool AvgPool3D Conv Conv2D Conv3D DepthToSpace DepthwiseConv2dNative "
        "ExtractImagePatches ImageProjectiveTransformV3 MaxPool MaxPool3D ResizeArea "
        "ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate SpaceToDepth"
    ),
    _batch_of(2): (
        "Conv2DBackpropInput Conv3DBackpropInputV2 DepthwiseConv2dNativeBackpropInput"
    ),
    _along(1): "Cumprod Cumsum CumulativeLogsumexp ReverseV2",
    _along(2): "Roll SplitV",
    _along(0, of=1): "Split",
    _last(1): "Cross FFT IFFT IRFFT LogSoftmax RFFT Softmax",
    _last(2): (
        "Cholesky FFT2D IFFT2D MatrixBandPart MatrixInverse MatrixSolve "
        "MatrixTriangularSolve LogMatrixDeterminant MatrixDeterminant"
    ),
    _reduced: "All Any ArgMax ArgMin EuclideanNorm Max Mean Min Prod Sum",
    _reshaped: "Reshape",
    _transposed: "Transpose",
    _expanded: "ExpandDims",
    _squeezed: "Squeeze",
    _sliced: "Slice",
    _strided: "StridedSlice",
    _strided_back: "StridedSliceGrad",
    _concatenated: "ConcatV2",
    _packed: "Pack",
    _unpacked: "Unpack",
    _gathered: "GatherV2",
    _tiled: "Tile",
    _padded: "MirrorPad Pad PadV2",
    _widened: "BroadcastTo",
    _product_of_matrices: "BatchMatMul BatchMatMulV2 BatchMatMulV3 MatMul",
    _summed_product: "Einsum",
    _called: "PartitionedCall StatefulPartitionedCall",
    _of_branches: "If StatelessIf",
    _of_loop: "StatelessWhile While",
    _set_in_list: "TensorListPushBack TensorListSetItem",
    _got_from_list: "TensorListGetItem",
}
for _function, _kinds in _COLUMNS.items():
    add_column(_kinds, samples=_function)
