"""Matrix products, convolutions and other bilinear operations; Fourier transforms."""

import functools
import itertools
import math
import string
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import map_entries, primal
from keras_smooth.jet.entries import apply_folded
from keras_smooth.operations.lifting import (
    add_linear,
    folded_linear_rule,
    full_jet,
    lift_last_axes,
    linear_rule,
    run,
    run_primals,
    same_rank,
)
from keras_smooth.operations.rows import add


def _matmul(operation: tf.Operation, x: Any, y: Any) -> Jet:
    first, second = operation.get_attr("transpose_a"), operation.get_attr("transpose_b")
    if not isinstance(y, Jet) and not first:
        # One product of all rows and directions. After a narrow layer, fewer directions suffice.
        return jet.linear(lambda v: run(operation, [v, y]), x).framed()
    product = functools.partial(tf.matmul, transpose_a=first, transpose_b=second)
    return jet.bilinear(product, full_jet(x), full_jet(y))


def _batch_matmul(operation: tf.Operation, x: Any, y: Any) -> Jet:
    first, second = operation.get_attr("adj_x"), operation.get_attr("adj_y")
    product = functools.partial(tf.matmul, adjoint_a=first, adjoint_b=second)
    return jet.bilinear(product, *same_rank(full_jet(x), full_jet(y)))


def _einsum(operation: tf.Operation, *inputs: Any) -> Any:
    equation = operation.get_attr("equation").decode()
    terms, result = equation.split("->")
    terms = terms.split(",")
    letter = next(unused for unused in string.ascii_letters if unused not in equation)
    ranks = [primal(x).shape.rank for x in inputs]

    def product(*values: tf.Tensor) -> tf.Tensor:
        marks = [
            letter if value.shape.rank > rank else "" for value, rank in zip(values, ranks)
        ]
        lead = letter if any(marks) else ""
        marked = ",".join(mark + term for mark, term in zip(marks, terms))
        return tf.einsum(f"{marked}->{lead}{result}", *values)

    if len(inputs) == 1:
        return linear_rule(lambda operation, v: product(v))(operation, *inputs)
    return jet.bilinear(product, *map(full_jet, inputs))


def _transposed_convolution(
    operation: tf.Operation, sizes: Any, kernel: Any, x: Any
) -> Any:
    """The rule of a transposed convolution, TensorFlow's gradient of a convolution by its input."""
    if isinstance(kernel, Jet):
        return _product_by_direction(lambda a, b: run(operation, [sizes, b, a]), x, kernel)

    def applied(v: tf.Tensor) -> tf.Tensor:
        batch = tf.cast(tf.shape(v)[:1], sizes.dtype)
        return run(operation, [tf.concat([batch, sizes[1:]], axis=0), kernel, v])

    return map_entries(
        x, run_primals(operation, [sizes, kernel, x]), lambda v: apply_folded(applied, v)
    )


def _convolution(operation: tf.Operation, x: Any, kernel: Any) -> Any:
    """The rule of a convolution. If the kernel is constant, all directions are one batch."""
    if not isinstance(kernel, Jet):
        return folded_linear_rule(operation, x, kernel)
    return _product_by_direction(lambda a, b: run(operation, [a, b]), x, kernel)


def _product_by_direction(product: Callable, x: Any, y: Any) -> Jet:
    """Applies a product that accepts no axis of directions to one direction at a time."""
    ranks = [primal(x).shape.rank, primal(y).shape.rank]

    def applied(*values: tf.Tensor) -> tf.Tensor:
        moves = [value.shape.rank > rank for value, rank in zip(values, ranks)]
        if not any(moves):
            return product(*values)
        columns = [tf.unstack(v) if m else [v] for v, m in zip(values, moves)]
        number = max(map(len, columns))
        rows = ([column[i % len(column)] for column in columns] for i in range(number))
        return tf.stack([product(*row) for row in rows])

    return jet.bilinear(applied, full_jet(x), full_jet(y))


_sum_with_bias = linear_rule(None, slice(2))


def _bias(operation: tf.Operation, x: Any, bias: Any) -> Any:
    if isinstance(bias, Jet):
        return _sum_with_bias(operation, x, bias)
    return x.like(run(operation, [x.primal, bias]), x.series)


def _cross(operation: tf.Operation, x: Any, y: Any) -> Jet:
    def product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.linalg.cross(a + tf.zeros_like(b), b + tf.zeros_like(a))

    return jet.bilinear(product, *same_rank(full_jet(x), full_jet(y)))


def _batch_normalization(
    operation: tf.Operation, x: Jet, scale: Any, offset: Any, mean: Any, variance: Any
) -> Any:
    """The rule of batch normalization with constant statistics; nested tapes for other cases."""
    statistics = (scale, offset, mean, variance)
    if operation.get_attr("is_training") or any(isinstance(v, Jet) for v in statistics):
        return NotImplemented
    factor = scale * tf.math.rsqrt(variance + operation.get_attr("epsilon"))
    if operation.get_attr("data_format") == b"NCHW":
        factor = tf.reshape(factor, [-1, 1, 1])
    y, *others = run(operation, [x.primal, *statistics])
    return [map_entries(x, y, lambda v: v * factor), *others]


def _right_unless_cropped(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """The order of a Fourier transform, whose gradient fails if it omits numbers of its input."""
    lengths = tf.get_static_value(operation.inputs[1])
    if lengths is None or operation.inputs[0].shape.rank is None:
        return math.inf
    sizes = operation.inputs[0].shape[-len(lengths) :]
    num_used = list(lengths)
    if "IRFFT" in operation.type:
        num_used[-1] = num_used[-1] // 2 + 1
    pairs = zip(num_used, sizes)
    return 0 if any(size is not None and used < size for used, size in pairs) else math.inf


add_linear("FFT FFT2D FFT3D IFFT IFFT2D IFFT3D", lift_last_axes)
add_linear(
    "IRFFT IRFFT2D IRFFT3D RFFT RFFT2D RFFT3D",
    lift_last_axes,
    tapes_right_to=_right_unless_cropped,
)
add("MatMul", _matmul, exact=True)
add("BatchMatMul BatchMatMulV2 BatchMatMulV3", _batch_matmul, exact=True)
add("Einsum", _einsum, exact=True)
add("Conv Conv2D Conv3D DepthwiseConv2dNative", _convolution, exact=True)
add(
    "Conv2DBackpropInput Conv3DBackpropInputV2 DepthwiseConv2dNativeBackpropInput",
    _transposed_convolution,
    exact=True,
)
add("BiasAdd BiasAddV1", _bias, exact=True)
add("Cross", _cross)


def _normalization_right_to(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns 2 in training: TensorFlow's second derivative has no gradient by the statistics."""
    return 2 if operation.get_attr("is_training") else math.inf


# TensorFlow's gradient is that of the first output with respect to the first three inputs. There
# is none with respect to the mean and the variance, and none of the other outputs.
add(
    "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3",
    _batch_normalization,
    exact=True,
    tapes_right_to=_normalization_right_to,
    left_out=((3, 0), (4, 0), *itertools.product(range(5), range(1, 6))),
)
