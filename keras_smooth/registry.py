"""Smoothness: one row for each activation and layer, and the look-up."""

import dataclasses
import difflib
import functools
import math
from collections.abc import Callable, Hashable, Iterable

import keras

from keras_smooth.models import graph

Class = float | None


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of one activation function or one layer class.

    Args:
        subject: The function or the layer class.
        smoothness: k of the class C^k: -1 for a jump, 0 for ReLU, `math.inf` for
            tanh. A callable gives it from the parameters of the function, or from
            the layer.
        joints: The points at which the pieces of the function meet, with the default
            parameters.
        reason: What happens at the joints, as the second half of a sentence that
            begins with the name.
    """

    subject: Hashable
    smoothness: Class | Callable[..., Class]
    joints: tuple[float, ...] = ()
    reason: str = ""


def least(classes: Iterable[Class]) -> Class:
    """Returns the smoothness of a composition: the least, unknown if any is unknown."""
    classes = list(classes)
    return None if None in classes else min(classes, default=math.inf)


def _elu(alpha: float = 1.0) -> Class:
    return 1 if alpha == 1 else 0


def _squareplus(b: float = 4) -> Class:
    return math.inf if b > 0 else 0


def _leaky_relu(negative_slope: float = 0.2) -> Class:
    return math.inf if negative_slope == 1 else 0


def _relu(negative_slope=0.0, max_value=None, threshold=0.0) -> Class:
    if threshold:
        return -1
    return 0 if max_value is not None else _leaky_relu(negative_slope)


_FLAT = "is made of straight pieces, so y'' is 0 wherever it exists"
_KINK_0 = "has a kink at 0 and is straight on both sides, so y'' is 0 wherever it exists"
_BEND_0 = "is straight for x > 0 and its second derivative jumps at 0"

_ACTIVATIONS = {
    "celu": (1, (0.0,), _BEND_0),
    "elu": (_elu, (0.0,), _BEND_0),
    "exponential": (math.inf,),
    "gelu": (math.inf,),
    "glu": (math.inf,),
    "hard_shrink": (-1, (-0.5, 0.5), "jumps at both thresholds"),
    "hard_sigmoid": (0, (-3.0, 3.0), _FLAT),
    "hard_silu": (0, (-3.0, 3.0), "has kinks at -3 and 3"),
    "hard_tanh": (0, (-1.0, 1.0), _FLAT),
    "leaky_relu": (_leaky_relu, (0.0,), _KINK_0),
    "linear": (math.inf,),
    "log_sigmoid": (math.inf,),
    "log_softmax": (math.inf,),
    "mish": (math.inf,),
    "relu": (_relu, (0.0,), _KINK_0),
    "relu6": (0, (0.0, 6.0), _FLAT),
    "selu": (0, (0.0,), "has a kink at 0 and is straight for x > 0, so y'' is lost there"),
    "sigmoid": (math.inf,),
    "silu": (math.inf,),
    "soft_shrink": (0, (-0.5, 0.5), _FLAT),
    "softmax": (math.inf,),
    "softplus": (math.inf,),
    "softsign": (1, (0.0,), "has a second derivative that jumps from 2 to -2 at 0"),
    "sparse_plus": (1, (-1.0, 1.0), "has a second derivative that jumps at -1 and 1"),
    "sparse_sigmoid": (0, (-1.0, 1.0), _FLAT),
    # Sparsemax is continuous, but Keras 3.15 computes its threshold wrongly: of (0.4, -0.4)
    # it makes (0.7, 0) instead of (0.9, 0.1), and it jumps where the support changes.
    "sparsemax": (-1, (), "jumps where the number of its outputs above 0 changes"),
    "squareplus": (_squareplus,),
    "tanh": (math.inf,),
    "tanh_shrink": (math.inf,),
    "threshold": (-1, (), "jumps at its threshold"),
}


def of_activation(layer: keras.layers.Layer) -> Class:
    return smoothness(layer.activation)


def _of_gates(layer: keras.layers.Layer) -> Class:
    return least(map(smoothness, (layer.activation, layer.recurrent_activation)))


def _of_inner(layer: keras.layers.Layer) -> Class:
    return smoothness(layer.layer)


def _of_directions(layer: keras.layers.Layer) -> Class:
    return least(map(smoothness, (layer.forward_layer, layer.backward_layer)))


def _of_slope(layer: keras.layers.Layer) -> Class:
    return _leaky_relu(layer.negative_slope)


def _of_relu(layer: keras.layers.Layer) -> Class:
    return _relu(layer.negative_slope, layer.max_value, layer.threshold)


def _of_alpha(layer: keras.layers.Layer) -> Class:
    return _elu(layer.alpha)


_LAYERS = (
    (
        math.inf,
        "Add AdditiveAttention AlphaDropout Attention Average AveragePooling1D "
        "AveragePooling2D AveragePooling3D BatchNormalization Concatenate Cropping1D "
        "Cropping2D Cropping3D Dot Dropout Flatten GaussianDropout GaussianNoise "
        "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D "
        "GroupNormalization GroupQueryAttention Identity InputLayer LayerNormalization "
        "MultiHeadAttention Multiply Normalization Permute RMSNormalization "
        "RepeatVector Rescaling Reshape Softmax SpatialDropout1D SpatialDropout2D "
        "SpatialDropout3D Subtract UnitNormalization UpSampling1D UpSampling2D "
        "UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D",
    ),
    (
        of_activation,
        "Activation Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D "
        "Conv3DTranspose Dense DepthwiseConv1D DepthwiseConv2D EinsumDense "
        "SeparableConv1D SeparableConv2D SimpleRNN",
    ),
    (_of_gates, "ConvLSTM1D ConvLSTM2D ConvLSTM3D GRU LSTM"),
    (_of_inner, "SpectralNormalization TimeDistributed"),
    (_of_directions, "Bidirectional"),
    (_of_alpha, "ELU"),
    (_of_slope, "LeakyReLU"),
    (_of_relu, "ReLU"),
    (
        0,
        "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D MaxPooling1D "
        "MaxPooling2D MaxPooling3D Maximum Minimum PReLU",
    ),
    (-1, "CategoryEncoding Discretization Embedding Hashing"),
)


def _keras_rows() -> Iterable[Row]:
    for name, columns in _ACTIVATIONS.items():
        if hasattr(keras.activations, name):
            yield Row(getattr(keras.activations, name), *columns)
    for rule, names in _LAYERS:
        for name in names.split():
            if hasattr(keras.layers, name):
                yield Row(getattr(keras.layers, name), rule)


_rows = {row.subject: row for row in _keras_rows()}
_named = {}


def register_smoothness(
    subject: Callable,
    smoothness: Class | Callable[..., Class],
    joints: Iterable[float] = (),
    reason: str = "",
) -> None:
    """Adds a row to the table of smoothness, or replaces one.

    Args:
        subject: An activation function or a class of layers. A function is also found
            by its `__name__` from then on.
        smoothness: k of the class C^k, an integer of at least -1 or `math.inf`; or a
            callable that gives k from the function's parameters or from the layer.
        joints: The points at which pieces of the function meet.
        reason: What goes wrong at the joints, for error messages and reports.

    Raises:
        TypeError: If `subject` is not callable.
        ValueError: If `smoothness` is not a class of differentiability.

    Example:

    >>> import math, keras_smooth
    >>> def cube(x):
    ...     return x**3
    >>> keras_smooth.register_smoothness(cube, math.inf)
    >>> keras_smooth.smoothness(cube)
    inf
    """
    if not callable(subject):
        raise TypeError(
            "register_smoothness expects a function or a layer class, received "
            f"{subject!r}."
        )
    if not callable(smoothness) and not _is_class(smoothness):
        raise ValueError(
            "smoothness must be an integer of at least -1, math.inf or a callable; "
            f"received {smoothness!r}."
        )
    _rows[subject] = Row(subject, smoothness, tuple(joints), reason)
    if not isinstance(subject, type):
        _named[subject.__name__] = subject


def _is_class(value: object) -> bool:
    return value == math.inf or (isinstance(value, int) and value >= -1)


def row(subject: Hashable) -> Row | None:
    """Returns the row of a function, of a function with parameters or of a layer class."""
    try:
        return _rows.get(getattr(subject, "function", subject))
    except TypeError:
        return None


def function_names() -> list[str]:
    """Returns the names of all activation functions in the table."""
    names = (key.__name__ for key in _rows if not isinstance(key, type))
    return sorted(set(names))


def named(name: str) -> Callable:
    """Returns the function of a name: the package's own first, then Keras'.

    Raises:
        ValueError: If neither has it; the message lists the nearest names.
    """
    function = _named.get(name) or _keras_activation(name)
    if function is None:
        raise ValueError(
            f"There is no activation named {name!r}. {nearest(name, function_names())}"
        )
    return function


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns a sentence with the names that a misspelt one may have meant."""
    names = sorted(names)
    matches = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return (
        f"Did you mean {', '.join(matches)}?" if matches else f"Known: {', '.join(names)}."
    )


def _keras_activation(name: str) -> Callable | None:
    try:
        return keras.activations.get(name)
    except ValueError:
        return None


@functools.singledispatch
def smoothness(obj: object) -> Class:
    """Returns how often a function, layer or model can be differentiated.

    Args:
        obj: An activation (its name or the function), a layer, a layer class whose
            smoothness does not depend on arguments, or a model. A layer has the
            smoothness of its activation, a model that of its least smooth part.

    Returns:
        k of the differentiability class C^k: -1 for a jump, 0 for ReLU, 1 for ELU,
        `math.inf` for tanh. `None` means unknown: no row, or a model whose `call`
        is its own code.

    Raises:
        ValueError: If `obj` is a string that names no activation.
        TypeError: If `obj` cannot be a function, layer or model.

    Example:

    >>> import keras, keras_smooth
    >>> keras_smooth.smoothness("relu"), keras_smooth.smoothness("tanh")
    (0, inf)
    >>> keras_smooth.smoothness(keras.layers.Dense(20, activation="elu"))
    1
    """
    if not callable(obj):
        raise TypeError(
            "smoothness expects the name of an activation, a function, a layer or a "
            f"model; received {obj!r}."
        )
    found = row(obj)
    if found is None:
        return None
    if isinstance(obj, type):
        return None if callable(found.smoothness) else found.smoothness
    if callable(found.smoothness):
        return found.smoothness(**getattr(obj, "parameters", {}))
    return found.smoothness


@smoothness.register
def _(obj: str) -> Class:
    return smoothness(named(obj))


@smoothness.register
def _(obj: keras.layers.Layer) -> Class:
    # The exact class only: a subclass may compute something else.
    found = row(type(obj))
    if found is None:
        return None
    return found.smoothness(obj) if callable(found.smoothness) else found.smoothness


@smoothness.register
def _(obj: keras.Model) -> Class:
    found = graph.parts(obj)
    return None if found is None else least(map(smoothness, found))
