"""Functions of keras.ops with arguments to call them with, and their smoothness.

The smoothness is that on all numbers where a function is finite, including the ends of its
domain: log and 1 / x have infinite smoothness, and the square root, whose slope at 0 is
infinite, has 0. -1 also stands for functions that return integers or booleans. None is for
functions without derivatives to compare: they run code, draw numbers or leave TensorFlow.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from activation_cases import examples
from keras import ops

from keras_smooth import registry


@dataclasses.dataclass(frozen=True)
class Floats:
    """A placeholder for a tensor of floats, by which an operation is differentiated.

    Args:
        shape: Shape of the tensor.
        low: Its numbers are between `low` and `high`.
        high: See `low`.
        symmetric: Whether it is a symmetric matrix with `low` added to its diagonal, which
            makes it positive definite.
    """

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0
    symmetric: bool = False

    def point(self, seed: int = 0) -> np.ndarray:
        """Returns generic numbers at equal distances, so that none are near a tie."""
        rng = np.random.default_rng(seed)
        if self.symmetric:
            return self._mirrored(rng) + self.low * np.eye(self.shape[-1])
        size = math.prod(self.shape)
        steps = (rng.permutation(size) + 0.3) / size
        return (self.low + (self.high - self.low) * steps).reshape(self.shape)

    def direction(self, seed: int = 0) -> np.ndarray:
        """Returns a generic direction of numbers with absolute values between 0.2 and 1."""
        rng = np.random.default_rng(seed + 1)
        if self.symmetric:
            return self._mirrored(rng)
        sizes = rng.uniform(0.2, 1.0, self.shape)
        return np.where(np.arange(sizes.size).reshape(self.shape) % 2, -sizes, sizes)

    def symbol(self) -> keras.KerasTensor:
        """Returns a symbolic tensor."""
        return keras.Input(batch_shape=self.shape, dtype="float64")

    def _mirrored(self, rng: np.random.Generator) -> np.ndarray:
        half = rng.uniform(-0.5, 0.5, self.shape)
        return half + np.swapaxes(half, -1, -2)


@dataclasses.dataclass(frozen=True)
class Sample:
    """Arguments of a call, in which `Floats` stand for tensors."""

    args: tuple
    kwargs: dict

    def places(self) -> list[Floats]:
        """Returns the placeholders of tensors, in the order of the arguments."""
        leaves = keras.tree.flatten((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Floats)]

    def filled(self, tensors: list) -> tuple[Any, Any]:
        """Returns args and kwargs with tensors in the place of `Floats`."""
        rest = iter(tensors)

        def fill(leaf):
            return next(rest) if isinstance(leaf, Floats) else leaf

        return keras.tree.map_structure(fill, (self.args, self.kwargs))


@dataclasses.dataclass(frozen=True)
class Function:
    """A function of keras.ops.

    Args:
        subject: The function.
        sample: Arguments to call it with.
        smoothness: k of its class C^k with these arguments.
        breakpoints: Points where pieces meet; for several numbers, those t at which it is not
            smooth along (t, -t).
        single: Whether it computes in float32 for every dtype.
        mixes: Whether an output depends on more than one number.
    """

    subject: Callable
    sample: Sample
    smoothness: float | None
    breakpoints: tuple[float, ...] = ()
    single: bool = False
    mixes: bool = False


SAMPLED: dict[str, Function] = {}


def add(names: str, smoothness, *args, breakpoints=(), single=False, **kwargs) -> None:
    """Adds functions by their names, with arguments to call each of them with."""
    for name in names.split():
        parent, _, short_name = name.rpartition(".")
        module = getattr(ops, parent, None) if parent else ops
        # Older Keras lacks some functions, and two names may be the same function.
        if hasattr(module, short_name):
            function, sample = getattr(module, short_name), Sample(args, kwargs)
            key = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
            SAMPLED[key] = Function(function, sample, smoothness, breakpoints, single)


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


def _add_activations() -> None:
    """Adds the functions that are activations of Keras as well."""
    for name in dir(keras.activations):
        row, function = (
            registry.row(getattr(keras.activations, name)),
            getattr(ops, name, None),
        )
        if row is None or function is None:
            continue
        x = Floats((2, 4), -0.05, 0.05) if row.mixes else _X
        k = row.smoothness
        SAMPLED[f"nn.{function.__name__}"] = Function(
            function,
            Sample((x,), examples(row)[0]),
            k(**examples(row)[0]) if callable(k) else k,
            () if row.mixes else row.breakpoints,
            mixes=row.mixes,
        )


_add_activations()
# In keras.ops, `approximate` has another default than in keras.activations.
add("gelu", math.inf, _X)

# Functions of single numbers.
add("cos", math.inf, _X)
add("erf", math.inf, _X)
add("exp", math.inf, _X)
add("expm1", math.inf, _X)
add("log", math.inf, _POSITIVE)
add("log1p", math.inf, _POSITIVE)
add("negative", math.inf, _X)
add("reciprocal", math.inf, _POSITIVE)
add("sin", math.inf, _X)
add("sqrt", 0, _POSITIVE)
add("square", math.inf, _X)
add("i0", math.inf, _X)
add("sinc", math.inf, _X)

add("arctanh erfinv", math.inf, Floats((2, 3), -0.7, 0.7))
add("arccos arcsin", 0, Floats((2, 3), -0.7, 0.7))
add("arccosh", 0, Floats((2, 3), 1.5, 2.5))
add("arcsinh arctan cosh deg2rad erfc exp2 rad2deg sinh tan", math.inf, _X)
add("log10 log2 rsqrt", math.inf, _POSITIVE)
add("cbrt", 0, _POSITIVE)
add("absolute abs fabs", 0, _X, breakpoints=(0.0,))
add("ceil floor", -1, _X, breakpoints=(0.0,))
add("sign", -1, _X, breakpoints=(0.0,))
add("trunc", -1, _X, breakpoints=(1.0,))
add("round", -1, _X, breakpoints=(0.5,))
add("clip", 0, _X, -0.5, 0.5, breakpoints=(-0.5, 0.5))
add("nan_to_num", math.inf, _X)
add("angle", -1, _X, breakpoints=(0.0,))
add("real conjugate conj copy", math.inf, _X)
add("imag", math.inf, _X)

# Functions of two numbers.
add("add", math.inf, _X, _Y)
add("subtract", math.inf, _X, _Y)
add("multiply", math.inf, _X, _Y)
add(
    "divide true_divide",
    math.inf,
    _X,
    _Y,
)
add("power", math.inf, _X, 3)
add(
    "logaddexp",
    math.inf, _X, _Y,
)  # fmt: skip
add(
    "logaddexp2",
    math.inf, _X, _Y,
)  # fmt: skip
add("arctan2", -1, Floats((2, 3), 0.3, 1.0), -0.5, breakpoints=(0.0,))
add("divide_no_nan", -1, 1.0, _Y, breakpoints=(0.0,))
add("floor_divide mod", -1, _X, 1.0, breakpoints=(0.0,))
add("fmod", -1, _POSITIVE, 1.0, breakpoints=(1.0,))
add("heaviside", -1, _X, np.array(0.5), breakpoints=(0.0,))
add(
    "hypot",
    0, _X, np.array(0.0), breakpoints=(0.0,),
)  # fmt: skip
add("maximum minimum fmax fmin", 0, _X, 0.25, breakpoints=(0.25,))
add(
    "ldexp",
    math.inf, _X, np.array([1, 2, 3]),
)  # fmt: skip
add("nextafter", math.inf, _X, _Y)
add("polar", math.inf, _POSITIVE, _X)

# Comparisons, and other functions that do not return floats.
add("equal not_equal", -1, _X, 0.0, breakpoints=(0.0,))
add("greater greater_equal less less_equal", -1, _X, 0.0, breakpoints=(0.0,))
add("logical_and logical_or logical_xor", -1, _X, 1.0)
add("isclose allclose", -1, _ONE, 0.0, breakpoints=(0.0,))
add("isin", -1, _ONE, np.zeros(2), breakpoints=(0.0,))
add("isfinite isinf isnan isneginf isposinf isreal", -1, _X)
add("signbit", -1, _X, breakpoints=(0.0,))
add("logical_not all any", -1, _ONE, breakpoints=(0.0,))
add("argmax argmin argsort nanargmax nanargmin", -1, _X, breakpoints=(0.0,))
add("argpartition", -1, _X, 1)
add("count_nonzero", -1, _ONE, breakpoints=(0.0,))
add("nonzero", -1, _ONE)
add("digitize", -1, _ONE, np.array([0.0, 1.0]), breakpoints=(0.0,))
add("searchsorted", -1, np.array([0.0, 1.0]), _ONE, breakpoints=(0.0,))
# Keras 3.15 cannot call it in a graph.
add("histogram", -1, _ONE)
add("bincount", None, _WHOLE)
add("unique", -1, _ONE)
add("in_top_k", -1, np.array([0, 1]), np.eye(2, dtype="float32"), 1)
add("shape ndim size dtype is_tensor", -1, _WHOLE)
add(
    "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift gcd lcm "
    "left_shift right_shift",
    -1, _WHOLE, np.array([1, 2]),
)  # fmt: skip
add("bitwise_invert bitwise_not", -1, _WHOLE)
add("multi_hot one_hot", -1, np.array([0, 1]), 3)
add("unravel_index", -1, _WHOLE, (3, 4))

# Functions whose results do not depend on the numbers, and ranges.
add("zeros_like", math.inf, _X)
add("ones_like", math.inf, _X)
add("empty_like", math.inf, _X)
add("full_like", math.inf, _X, 2.0)
add("zeros ones empty", math.inf, (2, 3))
add("full", math.inf, (2, 3), 1.0)
add("arange eye identity tri bartlett blackman hamming hanning", math.inf, 4)
add("kaiser", math.inf, 4, 3.0)
add("linspace", math.inf, _X, _Y, num=4)
add("logspace", math.inf, _X, _Y, num=4)
add("geomspace", math.inf, _POSITIVE, Floats((2, 3), 2.0, 3.0), num=4, single=True)

# Linear functions.
add("array convert_to_tensor", math.inf, _X)
add("cast saturate_cast", math.inf, _X, "float64")
add("mean", math.inf, _X, axis=-1)
add("sum", math.inf, _X, axis=-1)
add("average", math.inf, _X, axis=-1)
add("concatenate", math.inf, [_X, _Y], axis=-1)
add("reshape", math.inf, _X, (-1, 3, 1))
add("transpose", math.inf, Floats((2, 3, 2)), (0, 2, 1))
add("get_item", math.inf, _X, (slice(None), 1))
add("matmul", math.inf, _X, np.ones((3, 2)))
add("cumsum diff flip fliplr flipud nansum nancumsum nanmean ravel", math.inf, _X)
add("roll repeat", math.inf, _X, 1)
add("tile", math.inf, _X, (1, 2))
add("array_split split hsplit", math.inf, Floats((4, 4)), 2)
add("vsplit", math.inf, Floats((4, 4)), 2)
add("dsplit", math.inf, Floats((2, 2, 4)), 2)
add("dstack hstack stack vstack", math.inf, [_X, _Y])
add("append meshgrid", math.inf, _ONE, _ONE)
add("broadcast_to", math.inf, _X, (2, 2, 3))
add("diag diagflat", math.inf, _ONE)
add("diagonal trace tril triu rot90", math.inf, _SQUARE)
add("expand_dims", math.inf, _X, 1)
add("squeeze", math.inf, Floats((2, 1)), 1)
add("swapaxes moveaxis", math.inf, _X, 0, 1)
add("unstack", math.inf, _X)
add("pad", math.inf, _X, ((1, 0), (0, 1)))
add("rearrange", math.inf, _X, "a b -> b a")
add("take", math.inf, _X, np.array([0, 2]), axis=1)
add("take_along_axis", math.inf, _X, np.array([[0], [1]]), axis=1)
add("slice", math.inf, _X, (0, 1), (2, 2))
add("slice_update", math.inf, _X, (0, 1), Floats((2, 2)))
add("scatter", math.inf, np.array([[0], [2]]), _ONE, (4,))
add("scatter_update", math.inf, Floats((4,)), np.array([[0], [2]]), _ONE)
add("segment_sum", math.inf, Floats((4,)), np.array([0, 0, 1, 1]), num_segments=2)
add("trapezoid", math.inf, _X)
add("view", -1, np.array([1, 2], np.int32), "float32")
add("depth_to_space", math.inf, Floats((2, 2, 2, 4)), 2)
add("space_to_depth", math.inf, Floats((2, 4, 4, 1)), 2)
add("unfold", math.inf, Floats((2, 1, 4, 4)), 2)
# Two blocks that overlap. Each place of the kernel costs a quarter of a second a call.
add("fold", math.inf, Floats((1, 2, 2)), (3, 1), (2, 1))
add("extract_sequences", math.inf, _SIGNAL, 4, 2)
add("fft", math.inf, (_SIGNAL, _SIGNAL))
add("fft2 ifft2", math.inf, (Floats((4, 4)), Floats((4, 4))))
add("rfft", math.inf, _SIGNAL)
add("irfft", math.inf, (Floats((2, 9)), Floats((2, 9))))
add("stft", math.inf, _SIGNAL, 8, 4, 8)
add("istft", math.inf, (Floats((2, 5, 5)), Floats((2, 5, 5))), 8, 4, 8)
add("view_as_complex", math.inf, Floats((3, 2)), single=True)
add("view_as_real", math.inf, np.ones((3,), "complex128"))
add("average_pool", math.inf, _IMAGE, 2)
add("adaptive_average_pool", math.inf, _IMAGE, (2, 2))

# Products of the entries of tensors, and normalizations.
add("conv", math.inf, _IMAGE, Floats((2, 2, 3, 2)))
add("conv_transpose", math.inf, _IMAGE, Floats((2, 2, 2, 3)), 1)
add("depthwise_conv", math.inf, _IMAGE, Floats((2, 2, 3, 2)))
add("separable_conv", math.inf, _IMAGE, Floats((2, 2, 3, 1)), Floats((1, 1, 3, 2)))
add("correlate", math.inf, Floats((5,)), Floats((3,)))
add("cross", math.inf, _X, _Y)
add("cumprod nancumprod prod nanprod", math.inf, _X, axis=-1)
add("dot inner kron outer vdot", math.inf, Floats((3,)), Floats((3,), 0.2, 1.0))
add("tensordot", math.inf, _X, Floats((3, 2)), 1)
add("einsum", math.inf, "ab,cb->ac", _X, _Y)
add("vander", math.inf, Floats((3,)))
add("var nanvar", math.inf, _X)
add("corrcoef", math.inf, _X)
add(
    "moments",
    math.inf, _X, [1],
)  # fmt: skip
add(
    "segment_prod",
    math.inf, Floats((4,)), np.array([0, 0, 1, 1]), num_segments=2,
)  # fmt: skip
add("dot_product_attention", math.inf, *[Floats((2, 3, 2, 2))] * 3)
# Keras 3.10 does not accept an integer axis in a graph.
add("logsumexp", math.inf, _X, axis=(-1,))
add("batch_normalization", math.inf, _X, np.zeros(3), np.ones(3), -1)
add(
    "layer_normalization",
    math.inf, _X,
)  # fmt: skip
add("rms_normalization", math.inf, _X)
add("psnr", math.inf, _X, _Y, 1.0)

# Functions that select numbers.
add("amax amin max min ptp nanmax nanmin sort", 0, _X, breakpoints=(0.0,))
add("median nanmedian", 0, Floats((3,)))
add(
    "quantile percentile nanquantile nanpercentile",
    0, Floats((3,)), 0.8, breakpoints=(0.0,),
)  # fmt: skip
add("max_pool", 0, _SMALL_IMAGE, 2, breakpoints=(0.0,))
add("adaptive_max_pool", 0, _SMALL_IMAGE, (2, 2), breakpoints=(0.0,))
add("segment_max segment_min", 0, Floats((4,)), np.array([0, 0, 1, 1]), num_segments=2,
      breakpoints=(0.0,))  # fmt: skip
add("top_k", -1, _X, 2, breakpoints=(0.0,))
add("std nanstd", 0, _X, breakpoints=(0.0,))
add("cdist", 0, Floats((2, 1)), np.zeros((2, 1)), breakpoints=(0.0,))
add("norm", 0, _X, breakpoints=(0.0,))
add("normalize", -1, _X, breakpoints=(0.0,))
add(
    "where",
    math.inf,
    np.array([True, False, True]),
    _X,
    _Y,
)
add("select", math.inf, [np.array([True, False, True])], [_X], 0.0)

# Functions of matrices.
add("cholesky", math.inf, _DEFINITE)
add("cholesky_inverse det inv logdet slogdet", math.inf, _DEFINITE)
add("solve", math.inf, _REGULAR, Floats((3, 2)))
add("solve_triangular", math.inf, _REGULAR, Floats((3, 2)), lower=True)
add("qr", -1, _REGULAR)
add("lstsq", -1, _REGULAR, Floats((3, 2)))
add("pinv", -1, _REGULAR)
add("matrix_rank", -1, _REGULAR)
add("lu_factor", -1, _REGULAR)
add("eig", None, _DEFINITE)
add("eigh svd", -1, _DEFINITE)

# Functions of images.
add(
    "image.affine_transform",
    math.inf, _IMAGE, np.array([1, 0, 0.3, 0, 1, 0.4, 0, 0.0]), single=True,
)  # fmt: skip
add("image.crop_images", math.inf, _IMAGE, 1, 1, target_height=2, target_width=2)
add("image.pad_images", math.inf, _IMAGE, 1, 1, target_height=6, target_width=6)
add("image.elastic_transform", None, _IMAGE)
add("image.extract_patches", math.inf, _IMAGE, 2)
add("image.extract_patches_3d", math.inf, Floats((1, 2, 2, 2, 1)), 2)
add("image.gaussian_blur", math.inf, _IMAGE)
add("image.rgb_to_grayscale", math.inf, _IMAGE)
add("image.rgb_to_hsv", -1, _COLOUR)
add("image.hsv_to_rgb", 0, Floats((1, 1, 1, 3), 0.23, 0.27))
add("image.map_coordinates", math.inf, Floats((4,)), np.array([[0.5, 1.5]]), 1)
_CORNERS = np.array([[0.0, 0.0], [0.0, 3.0], [3.0, 0.0], [3.0, 3.0]])
add(
    "image.perspective_transform",
    math.inf, _IMAGE, _CORNERS, _CORNERS - 0.1, single=True,
)  # fmt: skip
add("image.resize", math.inf, _IMAGE, (6, 6), single=True)
add(
    "image.scale_and_translate",
    math.inf, _IMAGE, (2, 4, 4, 3), np.ones(2), np.zeros(2), (1, 2), "linear",
)  # fmt: skip
add("image.sobel_edges", math.inf, _IMAGE)
add("image.ssim", math.inf, *[Floats((1, 12, 12, 1), 0.1, 1.0)] * 2, 1.0)

# Losses.
for _name, _target in (
    ("binary_crossentropy", np.ones((2, 3))),
    ("categorical_crossentropy", np.eye(2, 3)),
    ("sparse_categorical_crossentropy", np.array([0, 1])),
):
    add(_name, 0, _target, _PROBABILITIES)
add(
    "ctc_loss",
    None, np.array([[1, 2]]), Floats((1, 4, 3)), np.array([2]), np.array([4]),
)  # fmt: skip
add("ctc_decode", -1, Floats((1, 4, 3)), np.array([4]))

# Functions that run code of the user, or leave the graph.
add(
    "associative_scan cond fori_loop map scan switch vectorize vectorized_map while_loop "
    "custom_gradient jvp",
    None,
)
add("convert_to_numpy", None, _X)
add("stop_gradient", None, _X)
