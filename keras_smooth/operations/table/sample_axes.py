"""The axis of the samples in the outputs of each kind of operation, a column of the table.

A function gets the axes of the inputs, at least one of which has samples. `NotImplemented` says
that the operation mixes samples, or that it cannot be told.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.operations.program import Program
from keras_smooth.operations.rows import add_column
from keras_smooth.operations.samples import Axes, axes_of_samples


def _shape(operation: tf.Operation, place: int = 0) -> tf.TensorShape:
    return operation.inputs[place].shape


def _broadcast(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    """Of operations on single numbers, which broadcast from the last axis on."""
    shape = operation.outputs[0].shape
    behind = {
        x.shape.rank - axis
        for x, axis in zip(operation.inputs, axes) if axis is not None
    }  # fmt: skip
    if len(behind) > 1:
        return NotImplemented
    axis = shape.rank - behind.pop()
    sizes = {x.shape[a] for x, a in zip(operation.inputs, axes) if a is not None}
    return axis if sizes == {shape[axis]} else NotImplemented


def _each(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    return list(axes[: len(operation.outputs)])


def _of_first(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    """Of operations axis 0 of whose first input is a batch."""
    return 0 if list(axes) == [0, *[None] * (len(axes) - 1)] else NotImplemented


def _of_third(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    return 0 if list(axes) == [None, None, 0] else NotImplemented


def _kept(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    """Of operations whose output has the axes of the first input."""
    return axes[0] if all(axis is None for axis in axes[1:]) else NotImplemented


def _along(place: int) -> Callable:
    """Of operations that mix along the axes in one of their inputs, and no others."""

    def axis_of(operation: tf.Operation, axes: Axes, program: Program) -> Any:
        touched = _static(operation, place)
        if touched is None:
            return NotImplemented
        rank = _shape(operation).rank
        mixed = {int(each) % rank for each in np.reshape(touched, -1)}
        return NotImplemented if axes[0] in mixed else axes[0]

    return axis_of


def _last(number: int) -> Callable:
    """Of operations that mix along the last axes alone."""

    def axis_of(operation: tf.Operation, axes: Axes, program: Program) -> Any:
        rank = max(x.shape.rank for x in operation.inputs)
        axis = _broadcast_front(operation, axes)
        return axis if axis is not None and axis < rank - number else NotImplemented

    return axis_of


def _broadcast_front(operation: tf.Operation, axes: Axes) -> int | None:
    rank = max(x.shape.rank for x in operation.inputs)
    found = {
        rank - x.shape.rank + axis
        for x, axis in zip(operation.inputs, axes) if axis is not None
    }  # fmt: skip
    return found.pop() if len(found) == 1 else None


def _static(operation: tf.Operation, place: int) -> Any:
    return tf.get_static_value(operation.inputs[place])


def _reduced(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    touched = _static(operation, 1)
    if touched is None or axes[0] is None:
        return NotImplemented
    mixed = {int(each) % _shape(operation).rank for each in np.reshape(touched, -1)}
    if axes[0] in mixed:
        return NotImplemented
    attributes = operation.node_def.attr
    if attributes["keep_dims"].b:
        return axes[0]
    return axes[0] - sum(each < axes[0] for each in mixed)


def _reshaped(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    old, new = _shape(operation), operation.outputs[0].shape
    if axes[0] is None or new.rank is None:
        return NotImplemented
    size, before, behind = old[axes[0]], old[: axes[0]], old[axes[0] + 1 :]
    for axis in range(new.rank):
        parts = (new[:axis], new[axis + 1 :])
        if new[axis] != size:
            continue
        # Of an open size, what is before and behind it tells the place.
        if _product(parts[0]) == _product(before) and _product(parts[1]) == _product(
            behind
        ):
            if None not in (_product(before), _product(behind)):
                return axis
    return NotImplemented


def _product(shape: tf.TensorShape) -> int | None:
    return shape.num_elements()


def _transposed(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    order = _static(operation, 1)
    rank = _shape(operation).rank
    return NotImplemented if order is None else [p % rank for p in order].index(axes[0])


def _expanded(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    place = _static(operation, 1)
    if place is None:
        return NotImplemented
    place = int(np.reshape(place, -1)[0]) % (_shape(operation).rank + 1)
    return axes[0] + (place <= axes[0])


def _squeezed(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    shape = _shape(operation)
    given = operation.get_attr("squeeze_dims")
    dropped = {axis % shape.rank for axis in given} or {
        axis for axis, size in enumerate(shape) if size == 1
    }
    return NotImplemented if axes[0] in dropped else (
        axes[0] - sum(axis < axes[0] for axis in dropped)
    )  # fmt: skip


def _sliced(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    """Of slices that leave the axis whole."""
    axis = axes[0]
    whole = _shape(operation)[axis] == operation.outputs[0].shape[axis]
    begin = _static(operation, 1)
    fine = begin is not None and begin[axis] == 0
    return axis if whole and fine and axes[1:] == [None, None] else NotImplemented


def _strided(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    """Of slices with steps: goes through what they say of each axis."""
    axis, values = axes[0], [_static(operation, place) for place in (1, 2, 3)]
    held = all(other is None for other in axes[1:])
    if axis is None or not held or any(value is None for value in values):
        return NotImplemented
    masks = {
        name: operation.get_attr(f"{name}_mask")
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    rank, number = _shape(operation).rank, len(values[0])
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
                size = _shape(operation)[source]
                starts = says["begin"] or begin == 0
                ends = says["end"] or (size is not None and end >= size)
                fine = starts and ends and stride == 1 and not says["shrink_axis"]
                return target if fine else NotImplemented
            source, target = source + 1, target + (not says["shrink_axis"])
    return target + axis - source


def _concatenated(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    *parts, last = axes
    place = _static(operation, len(parts))
    moving = {axis for axis in parts if axis is not None}
    if place is None or last is not None or len(moving) > 1:
        return NotImplemented
    axis = moving.pop()
    return NotImplemented if int(place) % _shape(operation).rank == axis else axis


def _packed(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    moving = {axis for axis in axes if axis is not None}
    if len(moving) > 1:
        return NotImplemented
    place = operation.get_attr("axis") % operation.outputs[0].shape.rank
    axis = moving.pop()
    return axis + (place <= axis)


def _unpacked(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    place = operation.get_attr("axis") % _shape(operation).rank
    return NotImplemented if place == axes[0] else axes[0] - (place < axes[0])


def _split(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    place, value = (0, 1) if operation.type == "Split" else (2, 0)
    axis = _static(operation, place)
    rank = _shape(operation, value).rank
    if axis is None or axes[value] is None or int(axis) % rank == axes[value]:
        return NotImplemented
    return axes[value]


def _gathered(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    if operation.type != "GatherV2" or any(axis is not None for axis in axes[2:]):
        return NotImplemented
    place, dims = _static(operation, 2), operation.get_attr("batch_dims")
    if place is None:
        return NotImplemented
    rank, indices = _shape(operation).rank, _shape(operation, 1).rank
    place, dims = int(place) % rank, dims % (indices + 1)
    if axes[0] is None:
        # A table that no sample changes.
        return place + axes[1] - dims if axes[1] >= dims else axes[1]
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
    rank = max(ranks)
    found = set()
    for place, (axis, size) in enumerate(zip(axes, ranks)):
        if axis is None:
            continue
        if axis < size - 2:
            found.add(rank - size + axis)
            continue
        is_row = (axis == size - 2) != turned[place]
        if is_row == (place == 1):
            # The axis that is summed over.
            return NotImplemented
        found.add(rank - 2 + place)
    return found.pop() if len(found) == 1 else NotImplemented


def _summed_product(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    terms, result = operation.get_attr("equation").decode().split("->")
    if "." in result:
        return NotImplemented
    letters = {term[axis] for term, axis in zip(terms.split(","), axes) if axis is not None}
    letter = letters.pop()
    return NotImplemented if letters or letter not in result else result.index(letter)


def _arg(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    place = _static(operation, 1)
    if place is None or int(place) % _shape(operation).rank == axes[0]:
        return NotImplemented
    return axes[0] - (int(place) % _shape(operation).rank < axes[0])


def _called(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    body = program.bodies(operation.get_attr("f").name)
    return axes_of_samples(body, axes)


def _of_branches(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    if axes[0] is not None:
        return NotImplemented
    names = (operation.get_attr(each).name for each in ("then_branch", "else_branch"))
    first, second = (axes_of_samples(program.bodies(name), axes[1:]) for name in names)
    return _joined(first, second)


def _joined(first: Axes, second: Axes) -> Any:
    pairs = list(zip(first, second))
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        return NotImplemented
    return [a if b is None else b for a, b in pairs]


def _of_loop(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    body = program.bodies(operation.get_attr("body").name)
    condition = program.bodies(operation.get_attr("cond").name)
    while True:
        after = _joined(axes, axes_of_samples(body, axes))
        if after is NotImplemented or after == list(axes):
            break
        axes = after
    if after is NotImplemented or axes_of_samples(condition, axes) != [None]:
        return NotImplemented
    return list(axes)


def _set_in_list(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    # The axis of a list is that of its elements stacked.
    item = None if axes[-1] is None else axes[-1] + 1
    joined = _joined([axes[0]], [item])
    return joined if joined is NotImplemented else joined[0]


def _got_from_list(operation: tf.Operation, axes: Axes, program: Program) -> Any:
    return NotImplemented if not axes[0] else axes[0] - 1


_COLUMNS = {
    _broadcast: (
        "Acos Acosh Add AddV2 AddN Asin Asinh Atan Atan2 Atanh BesselI0 Ceil Cos Cosh "
        "ClipByValue Complex Dawsn Digamma Div DivNoNan Elu Equal Erf Erfc Erfinv Exp Expint "
        "Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Inv IsFinite IsInf IsNan "
        "LeakyRelu Less LessEqual Lgamma Log Log1p LogicalAnd LogicalNot LogicalOr "
        "Maximum Minimum Mod Mul MulNoNan Ndtri Neg NotEqual Polygamma Pow RealDiv "
        "Reciprocal Relu Relu6 Rint Round Rsqrt SelectV2 Selu Sigmoid SigmoidGrad Sign "
        "Sin Sinh Softplus SoftplusGrad Softsign Sqrt Square SquaredDifference Sub Tan "
        "Tanh TanhGrad TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Abs Angle Real Imag "
        "ComplexAbs Conj"
    ),
    _each: (
        "Cast CheckNumerics CheckNumericsV2 EnsureShape Identity IdentityN PreventGradient "
        "Snapshot StopGradient"
    ),
    _kept: "BiasAdd BiasAddV1 TensorListFromTensor TensorListStack",
    _of_first: (
        "AvgPool AvgPool3D Conv Conv2D Conv3D DepthToSpace DepthwiseConv2dNative "
        "ExtractImagePatches ImageProjectiveTransformV3 MaxPool MaxPool3D ResizeArea "
        "ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate SpaceToDepth"
    ),
    _of_third: (
        "Conv2DBackpropInput Conv3DBackpropInputV2 DepthwiseConv2dNativeBackpropInput"
    ),
    _along(1): "Cumprod Cumsum CumulativeLogsumexp ReverseV2",
    _along(2): "Roll",
    _last(1): "Cross FFT IFFT IRFFT LogSoftmax RFFT Softmax",
    _last(2): (
        "Cholesky FFT2D IFFT2D MatrixBandPart MatrixInverse MatrixSolve "
        "MatrixTriangularSolve LogMatrixDeterminant MatrixDeterminant"
    ),
    _reduced: "EuclideanNorm Max Mean Min Prod Sum All Any",
    _reshaped: "Reshape",
    _transposed: "Transpose",
    _expanded: "ExpandDims",
    _squeezed: "Squeeze",
    _sliced: "Slice",
    _strided: "StridedSlice",
    _concatenated: "ConcatV2",
    _packed: "Pack",
    _unpacked: "Unpack",
    _split: "Split SplitV",
    _gathered: "GatherV2",
    _tiled: "Tile",
    _padded: "MirrorPad Pad PadV2",
    _widened: "BroadcastTo",
    _product_of_matrices: "BatchMatMul BatchMatMulV2 BatchMatMulV3 MatMul",
    _summed_product: "Einsum",
    _arg: "ArgMax ArgMin",
    _called: "PartitionedCall StatefulPartitionedCall",
    _of_branches: "If StatelessIf",
    _of_loop: "StatelessWhile While",
    _set_in_list: "TensorListPushBack TensorListSetItem",
    _got_from_list: "TensorListGetItem",
}
for _function, _kinds in _COLUMNS.items():
    add_column(_kinds, samples=_function)
