"""Rows of the functions of keras.ops: how smooth each is, with arguments to try it on.

The class is that on all numbers where a function is finite, the ends of its domain with it:
log and 1 / x are of class infinity, and the root, whose slope at 0 is infinite, is of class 0.
-1 stands also for what has integers or booleans as its result, which has no derivative at all. None has a
reason: a Python function inside, or a gradient that TensorFlow does not have or has wrong.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_smooth import jet
from keras_smooth.registry import operation_rules
from keras_smooth.registry.jet_rules import elementwise
from keras_smooth.registry.rows import Class, add_alias, add_operation, row
from keras_smooth.registry.samples import Floats, Sample

_X = Floats((2, 3))
_Y = Floats((2, 3), 0.3, 0.8)
_POSITIVE = Floats((2, 3), 0.5, 2.0)
_SQUARE = Floats((3, 3))
_DEFINITE = Floats((3, 3), 3.0, symmetric=True)
_REGULAR = Floats((3, 3), 3.0, symmetric=True)
_SIGNAL = Floats((2, 16))
_IMAGE = Floats((2, 4, 4, 3))
_SMALL_IMAGE = Floats((1, 4, 4, 1))
_COLOUR = Floats((1, 2, 1, 3), 0.2, 0.9)
_PROBABILITIES = Floats((2, 3), 0.2, 0.8)
_ONE = Floats((2,))
_WHOLE = np.array([3, 5])
_INTEGERS = "has integers or booleans as its result"
_TAKES_INTEGERS = "takes integers, which have no derivative"
_CUT = "is cut off near 0 and 1"
_CODE = "runs a Python function, of which nothing is known"
_KINK = "has a kink where pieces meet"
_JUMP = "jumps"
_SELECTS = "has a kink where two numbers that it chooses from are equal"
_STOPS = "has a wrong second derivative: TensorFlow stops the gradient of its mean"
_STEEP = "has an infinite slope at the end of its domain"
_SINGLE = "computes in float32"
_AT_0 = "0"
_AT_ZEROS = "factors that are 0"
_EVERYWHERE = "every point"
_RANK = "jumps where the rank changes"


def _functions(name: str) -> list[Callable]:
    """Returns the functions of a name: `keras.ops.norm` and `keras.ops.linalg.norm`, say."""
    owner, _, last = name.rpartition(".")
    home = getattr(ops, owner, None) if owner else ops
    return [getattr(home, last)] if hasattr(home, last) else []


def _rows(
    names: str,
    smoothness: Class | Callable[..., Class],
    *args,
    jet: Callable | None = None,
    joints: tuple[float, ...] = (),
    reason: str = "",
    tapes_wrong: tuple[float, str] = (math.inf, ""),
    **kwargs,
) -> None:
    """Adds a row for each function; the rest is what each can be called with."""
    columns = dict(smoothness=smoothness, joints=joints, reason=reason)
    columns |= dict(zip(("tapes_wrong_from", "tapes_wrong_at"), tapes_wrong, strict=True))
    for name in names.split():
        for function in _functions(name):
            add_operation(function, sample=Sample(args, kwargs), jet=jet, **columns)


def _of_settings(smoothness: Class | Callable[..., Class]) -> Class | Callable[..., Class]:
    """Returns the class of an activation as one of all arguments of the operation."""
    if not callable(smoothness):
        return smoothness
    return lambda x=None, **settings: smoothness(**settings)


def _of_activations() -> None:
    """Adds the functions of keras.ops that Keras has as activations too: the same facts."""
    for name in dir(keras.activations):
        found, function = row(getattr(keras.activations, name)), getattr(ops, name, None)
        if found is not None and function is not None:
            kwargs = found.examples[0]
            x = Floats((2, 4), -0.05, 0.05) if found.mixes else _X
            add_operation(
                function,
                sample=Sample((x,), kwargs),
                smoothness=_of_settings(found.smoothness),
                jet=found.jet,
                joints=() if found.mixes else found.joints,
                reason=found.reason,
                mixes=found.mixes,
                activation=found.subject,
                tapes_wrong_from=found.tapes_wrong_from,
                tapes_wrong_at=found.tapes_wrong_at,
            )


_of_activations()
# keras.ops has another default than keras.activations.
_rows("gelu", math.inf, _X)

# Of single numbers, with a jet rule.
_rows("cos", math.inf, _X)
_rows("erf", math.inf, _X)
_rows("exp", math.inf, _X)
_rows("expm1", math.inf, _X)
_rows("log", math.inf, _POSITIVE)
_rows("log1p", math.inf, _POSITIVE)
_rows("negative", math.inf, _X)
_rows("reciprocal", math.inf, _POSITIVE)
_rows("sin", math.inf, _X)
_rows("sqrt", 0, _POSITIVE, reason=_STEEP)
_rows("square", math.inf, _X)
_rows("i0", math.inf, _X, tapes_wrong=(2, _AT_0))
_rows("sinc", math.inf, _X, jet=elementwise(jet.sinc), tapes_wrong=(1, _AT_0))

# Of single numbers, by nested tapes.
_rows("arctanh erfinv", math.inf, Floats((2, 3), -0.7, 0.7))
_rows("arccos arcsin", 0, Floats((2, 3), -0.7, 0.7), reason=_STEEP)
_rows("arccosh", 0, Floats((2, 3), 1.5, 2.5), reason=_STEEP)
_rows("arcsinh arctan cosh deg2rad erfc exp2 rad2deg sinh tan", math.inf, _X)
_rows("log10 log2 rsqrt", math.inf, _POSITIVE)
_rows("cbrt", 0, _POSITIVE, reason="has an infinite slope at 0")
_rows("absolute abs fabs", 0, _X, joints=(0.0,), reason=_KINK)
_rows("ceil floor", -1, _X, joints=(0.0,), reason=_JUMP)
_rows("sign", -1, _X, joints=(0.0,), reason=_JUMP)
_rows("trunc", -1, _X, joints=(1.0,), reason=_JUMP)
_rows("round", -1, _X, joints=(0.5,), reason=_JUMP)
_rows("clip", 0, _X, -0.5, 0.5, joints=(-0.5, 0.5), reason=_KINK)
_rows("nan_to_num", math.inf, _X)
_rows("angle", -1, _X, joints=(0.0,), reason="jumps from 0 to pi")
_rows("real conjugate conj copy", math.inf, _X)
_rows("imag", math.inf, _X)

# Of two numbers.
_rows("add", math.inf, _X, _Y)
_rows("subtract", math.inf, _X, _Y)
_rows("multiply", math.inf, _X, _Y)
_rows(
    "divide true_divide",
    math.inf,
    _X,
    _Y,
)
_rows("power", operation_rules.power_class, _X, 3)
_EQUAL = (1, "arguments that are equal")
_rows(
    "logaddexp",
    math.inf, _X, _Y,
    jet=operation_rules.same_rank(operation_rules.logaddexp), tapes_wrong=_EQUAL,
)  # fmt: skip
_rows(
    "logaddexp2",
    math.inf, _X, _Y,
    jet=operation_rules.same_rank(operation_rules.logaddexp2), tapes_wrong=_EQUAL,
)  # fmt: skip
_rows("arctan2", -1, Floats((2, 3), 0.3, 1.0), -0.5, joints=(0.0,), reason="jumps by 2 pi")
_rows("divide_no_nan", -1, 1.0, _Y, joints=(0.0,), reason="is 0 where the divisor is")
_rows("floor_divide mod", -1, _X, 1.0, joints=(0.0,), reason=_JUMP)
_rows("fmod", -1, _POSITIVE, 1.0, joints=(1.0,), reason=_JUMP)
_rows("heaviside", -1, _X, np.array(0.5), joints=(0.0,), reason=_JUMP)
_rows(
    "hypot",
    0, _X, np.array(0.0), joints=(0.0,), reason="has a kink at the origin",
    jet=operation_rules.same_rank(operation_rules.hypot),
    tapes_wrong=(2, "one argument that is 0"),
)  # fmt: skip
_rows("maximum minimum fmax fmin", 0, _X, 0.25, joints=(0.25,), reason=_SELECTS)
_rows(
    "ldexp",
    math.inf, _X, np.array([1, 2, 3]), jet=operation_rules.ldexp, tapes_wrong=(1, _AT_0),
)  # fmt: skip
_rows("nextafter", None, _X, _Y, reason="has no gradient in TensorFlow")
_rows("polar", math.inf, _POSITIVE, _X)

# Comparisons and what else is no number.
_rows("equal not_equal", -1, _X, 0.0, joints=(0.0,), reason=_INTEGERS)
_rows("greater greater_equal less less_equal", -1, _X, 0.0, joints=(0.0,), reason=_INTEGERS)
_rows("logical_and logical_or logical_xor", -1, _X, 1.0, reason=_INTEGERS)
_rows("isclose allclose", -1, _ONE, 0.0, joints=(0.0,), reason=_INTEGERS)
_rows("isin", -1, _ONE, np.zeros(2), joints=(0.0,), reason=_INTEGERS)
_rows("isfinite isinf isnan isneginf isposinf isreal", -1, _X, reason=_INTEGERS)
_rows("signbit", -1, _X, joints=(0.0,), reason=_INTEGERS)
_rows("logical_not all any", -1, _ONE, joints=(0.0,), reason=_INTEGERS)
_rows("argmax argmin argsort nanargmax nanargmin", -1, _X, joints=(0.0,), reason=_INTEGERS)
_rows("argpartition", -1, _X, 1, reason=_INTEGERS)
_rows("count_nonzero", -1, _ONE, joints=(0.0,), reason=_INTEGERS)
_rows("nonzero", -1, _ONE, reason=_INTEGERS)
_rows("digitize", -1, _ONE, np.array([0.0, 1.0]), joints=(0.0,), reason=_INTEGERS)
_rows("searchsorted", -1, np.array([0.0, 1.0]), _ONE, joints=(0.0,), reason=_INTEGERS)
# Keras 3.15 cannot call it in a graph.
_rows("histogram", -1, _ONE, reason="has counts as its result")
_rows("bincount", None, _WHOLE, reason="has no gradient in TensorFlow by its weights")
_rows("unique", -1, _ONE, reason="drops numbers where two are equal")
_rows("in_top_k", -1, np.array([0, 1]), np.eye(2, dtype="float32"), 1, reason=_INTEGERS)
_rows("shape ndim size dtype is_tensor", -1, _WHOLE, reason=_INTEGERS)
_rows(
    "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift gcd lcm "
    "left_shift right_shift",
    -1, _WHOLE, np.array([1, 2]), reason=_TAKES_INTEGERS,
)  # fmt: skip
_rows("bitwise_invert bitwise_not", -1, _WHOLE, reason=_TAKES_INTEGERS)
_rows("multi_hot one_hot", -1, np.array([0, 1]), 3, reason=_TAKES_INTEGERS)
_rows("unravel_index", -1, _WHOLE, (3, 4), reason=_TAKES_INTEGERS)

# What does not depend on numbers.
_rows("zeros_like", math.inf, _X)
_rows("ones_like", math.inf, _X)
_rows("empty_like", math.inf, _X)
_rows("full_like", math.inf, _X, 2.0)
_rows("zeros ones empty", math.inf, (2, 3))
_rows("full", math.inf, (2, 3), 1.0)
_rows("arange eye identity tri bartlett blackman hamming hanning", math.inf, 4)
_rows("kaiser", math.inf, 4, 3.0)
_rows("linspace", math.inf, _X, _Y, num=4)
_rows("logspace", math.inf, _X, _Y, num=4)
_rows("geomspace", math.inf, _POSITIVE, Floats((2, 3), 2.0, 3.0), num=4, reason=_SINGLE)

# Linear.
_rows("array convert_to_tensor", operation_rules.cast_class, _X)
_rows("cast saturate_cast", operation_rules.cast_class, _X, "float64")
_rows("mean", math.inf, _X, axis=-1)
_rows("sum", math.inf, _X, axis=-1)
_rows("average", math.inf, _X, axis=-1)
_rows("concatenate", math.inf, [_X, _Y], axis=-1)
_rows("reshape", math.inf, _X, (-1, 3, 1))
_rows("transpose", math.inf, Floats((2, 3, 2)), (0, 2, 1))
_rows("get_item", math.inf, _X, (slice(None), 1))
_rows("matmul", math.inf, _X, np.ones((3, 2)))
_rows("cumsum diff flip fliplr flipud nansum nancumsum nanmean ravel", math.inf, _X)
_rows("roll repeat", math.inf, _X, 1)
_rows("tile", math.inf, _X, (1, 2))
_rows("array_split split hsplit", math.inf, Floats((4, 4)), 2)
_rows("vsplit", math.inf, Floats((4, 4)), 2)
_rows("dsplit", math.inf, Floats((2, 2, 4)), 2)
_rows("dstack hstack stack vstack", math.inf, [_X, _Y])
_rows("append meshgrid", math.inf, _ONE, _ONE)
_rows("broadcast_to", math.inf, _X, (2, 2, 3))
_rows("diag diagflat", math.inf, _ONE)
_rows("diagonal trace tril triu rot90", math.inf, _SQUARE)
_rows("expand_dims", math.inf, _X, 1)
_rows("squeeze", math.inf, Floats((2, 1)), 1)
_rows("swapaxes moveaxis", math.inf, _X, 0, 1)
_rows("unstack", math.inf, _X)
_rows("pad", math.inf, _X, ((1, 0), (0, 1)))
_rows("rearrange", math.inf, _X, "a b -> b a")
_rows("take", math.inf, _X, np.array([0, 2]), axis=1)
_rows("take_along_axis", math.inf, _X, np.array([[0], [1]]), axis=1)
_rows("slice", math.inf, _X, (0, 1), (2, 2))
_rows("slice_update", math.inf, _X, (0, 1), Floats((2, 2)))
_rows("scatter", math.inf, np.array([[0], [2]]), _ONE, (4,))
_rows("scatter_update", math.inf, Floats((4,)), np.array([[0], [2]]), _ONE)
_rows("segment_sum", math.inf, Floats((4,)), np.array([0, 0, 1, 1]), num_segments=2)
_rows("trapezoid", math.inf, _X)
_rows("view", -1, np.array([1, 2], np.int32), "float32", reason="reads the bits anew")
_rows("depth_to_space", math.inf, Floats((2, 2, 2, 4)), 2)
_rows("space_to_depth", math.inf, Floats((2, 4, 4, 1)), 2)
_rows("unfold", math.inf, Floats((2, 1, 4, 4)), 2)
_rows("fold", math.inf, Floats((1, 4, 1)), (2, 2), 2)
_rows("extract_sequences", math.inf, _SIGNAL, 4, 2)
_rows("fft", math.inf, (_SIGNAL, _SIGNAL))
_rows("fft2 ifft2", math.inf, (Floats((4, 4)), Floats((4, 4))))
_rows("rfft", math.inf, _SIGNAL)
_rows("irfft", math.inf, (Floats((2, 9)), Floats((2, 9))))
_rows("stft", math.inf, _SIGNAL, 8, 4, 8)
_rows("istft", math.inf, (Floats((2, 5, 5)), Floats((2, 5, 5))), 8, 4, 8)
_rows("view_as_complex", math.inf, Floats((3, 2)), reason=_SINGLE)
_rows("view_as_real", math.inf, np.ones((3,), "complex128"))
_rows("average_pool", math.inf, _IMAGE, 2)
_rows("adaptive_average_pool", math.inf, _IMAGE, (2, 2))

# Products of the entries of tensors.
_rows("conv", math.inf, _IMAGE, Floats((2, 2, 3, 2)))
_rows("conv_transpose", math.inf, _IMAGE, Floats((2, 2, 2, 3)), 1)
_rows("depthwise_conv", math.inf, _IMAGE, Floats((2, 2, 3, 2)))
_rows("separable_conv", math.inf, _IMAGE, Floats((2, 2, 3, 1)), Floats((1, 1, 3, 2)))
_rows("correlate", math.inf, Floats((5,)), Floats((3,)))
_rows("cross", math.inf, _X, _Y)
for _names, _order in (("cumprod nancumprod", 1), ("prod nanprod", 2)):
    _rows(_names, math.inf, _X, axis=-1, tapes_wrong=(_order, _AT_ZEROS))
_rows("dot inner kron outer vdot", math.inf, Floats((3,)), Floats((3,), 0.2, 1.0))
_rows("tensordot", math.inf, _X, Floats((3, 2)), 1)
_rows("einsum", math.inf, "ab,cb->ac", _X, _Y)
_rows("vander", math.inf, Floats((3,)), tapes_wrong=(1, _AT_0))
_rows("var nanvar", math.inf, _X)
_rows("corrcoef", math.inf, _X)
_rows(
    "moments",
    None, _X, [1], reason=_STOPS,
    tapes_wrong=(2, _EVERYWHERE),
)  # fmt: skip
_rows(
    "segment_prod",
    math.inf, Floats((4,)), np.array([0, 0, 1, 1]), num_segments=2,
    tapes_wrong=(2, _AT_ZEROS),
)  # fmt: skip
_rows("dot_product_attention", math.inf, *[Floats((2, 3, 2, 2))] * 3)
# Keras 3.10 takes no single axis in a graph.
_rows("logsumexp", math.inf, _X, axis=(-1,))
_rows("batch_normalization", math.inf, _X, np.zeros(3), np.ones(3), -1)
_rows(
    "layer_normalization",
    None, _X, reason=_STOPS,
    tapes_wrong=(2, _EVERYWHERE),
)  # fmt: skip
_rows("rms_normalization", math.inf, _X)
_rows("psnr", math.inf, _X, _Y, 1.0)

# Chosen numbers.
_rows("amax amin max min ptp nanmax nanmin sort", 0, _X, joints=(0.0,), reason=_SELECTS)
_rows("median nanmedian", 0, Floats((3,)), reason=_SELECTS)
_rows(
    "quantile percentile nanquantile nanpercentile",
    0, Floats((3,)), 0.8, joints=(0.0,), reason=_SELECTS,
)  # fmt: skip
_rows("max_pool", 0, _SMALL_IMAGE, 2, joints=(0.0,), reason=_SELECTS)
_rows("adaptive_max_pool", 0, _SMALL_IMAGE, (2, 2), joints=(0.0,), reason=_SELECTS)
_rows("segment_max segment_min", 0, Floats((4,)), np.array([0, 0, 1, 1]), num_segments=2,
      joints=(0.0,), reason=_SELECTS)  # fmt: skip
_rows("top_k", -1, _X, 2, joints=(0.0,), reason="says which numbers are largest")
_rows("std nanstd", 0, _X, joints=(0.0,), reason="has a kink where all numbers are equal")
_rows("cdist", 0, Floats((2, 1)), np.zeros((2, 1)), joints=(0.0,), reason=_KINK)
_rows("norm", 0, _X, joints=(0.0,), reason="has a kink at 0")
_rows("normalize", -1, _X, joints=(0.0,), reason="jumps at 0, but for a tiny interval")
_rows(
    "where",
    operation_rules.where_class,
    np.array([True, False, True]),
    _X,
    _Y,
)
_rows("select", operation_rules.select_class, [np.array([True, False, True])], [_X], 0.0)

# Of matrices.
_rows("cholesky", math.inf, _DEFINITE)
_rows("cholesky_inverse det inv logdet slogdet", math.inf, _DEFINITE)
_rows("solve", math.inf, _REGULAR, Floats((3, 2)))
_rows("solve_triangular", math.inf, _REGULAR, Floats((3, 2)), lower=True)
_rows("qr", -1, _REGULAR, reason=_RANK)
_rows("lstsq", -1, _REGULAR, Floats((3, 2)), reason=_RANK)
_rows("pinv", -1, _REGULAR, reason=_RANK)
_rows("matrix_rank", -1, _REGULAR, reason=_INTEGERS)
_rows("lu_factor", -1, _REGULAR, reason="jumps where the pivots change")
_rows("eig", None, _DEFINITE, reason="has complex results")
_rows("eigh svd", -1, _DEFINITE, reason="jumps where two of its values are equal")

# Of images.
_rows(
    "image.affine_transform",
    math.inf, _IMAGE, np.array([1, 0, 0.3, 0, 1, 0.4, 0, 0.0]), reason=_SINGLE,
)  # fmt: skip
_rows("image.crop_images", math.inf, _IMAGE, 1, 1, target_height=2, target_width=2)
_rows("image.pad_images", math.inf, _IMAGE, 1, 1, target_height=6, target_width=6)
_rows("image.elastic_transform", None, _IMAGE, reason="draws random numbers")
_rows("image.extract_patches", math.inf, _IMAGE, 2)
_rows("image.extract_patches_3d", math.inf, Floats((1, 2, 2, 2, 1)), 2)
_rows("image.gaussian_blur", math.inf, _IMAGE)
_rows("image.rgb_to_grayscale", math.inf, _IMAGE)
_rows("image.rgb_to_hsv", -1, _COLOUR, reason="has a hue, which jumps at red")
_rows("image.hsv_to_rgb", 0, Floats((1, 1, 1, 3), 0.23, 0.27), reason=_KINK)
_rows("image.map_coordinates", 0, Floats((4,)), np.array([[0.5, 1.5]]), 1, reason=_KINK)
_CORNERS = np.array([[0.0, 0.0], [0.0, 3.0], [3.0, 0.0], [3.0, 3.0]])
_rows(
    "image.perspective_transform",
    math.inf, _IMAGE, _CORNERS, _CORNERS - 0.1, reason=_SINGLE,
)  # fmt: skip
_rows("image.resize", math.inf, _IMAGE, (6, 6), reason=_SINGLE)
_rows(
    "image.scale_and_translate",
    math.inf, _IMAGE, (2, 4, 4, 3), np.ones(2), np.zeros(2), (1, 2), "linear",
)  # fmt: skip
_rows("image.sobel_edges", math.inf, _IMAGE)
_rows("image.ssim", math.inf, *[Floats((1, 12, 12, 1), 0.1, 1.0)] * 2, 1.0)

# Losses.
for _name, _target in (
    ("binary_crossentropy", np.ones((2, 3))),
    ("categorical_crossentropy", np.eye(2, 3)),
    ("sparse_categorical_crossentropy", np.array([0, 1])),
):
    _rows(_name, operation_rules.crossentropy_class, _target, _PROBABILITIES, reason=_CUT)
_rows(
    "ctc_loss",
    None, np.array([[1, 2]]), Floats((1, 4, 3)), np.array([2]), np.array([4]),
    reason="has no second gradient in TensorFlow",
)  # fmt: skip
_rows("ctc_decode", -1, Floats((1, 4, 3)), np.array([4]), reason=_INTEGERS)

# What runs code of the user, or leaves the graph.
_rows(
    "associative_scan cond fori_loop map scan switch vectorize vectorized_map while_loop "
    "custom_gradient jvp",
    None,
    reason=_CODE,
)
_rows("convert_to_numpy", None, _X, reason="leaves TensorFlow")
_rows("stop_gradient", None, _X, reason="has no gradient in TensorFlow, on purpose")

# TensorFlow's own, of single numbers.
_TENSORFLOW = (
    "abs ceil cos cosh erf exp expm1 floor log log1p negative reciprocal round rsqrt sign "
    "sin sinh sqrt square tan"
)
for _name in _TENSORFLOW.split():
    add_alias(getattr(tf.math, _name), getattr(ops, _name))
