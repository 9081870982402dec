"""How operations carry jets, and classes that depend on arguments.

A rule is `rule(*args, **settings)` with the arguments of the function of keras.ops, in
which tensors that depend on x are jets. NotImplemented leaves the case to the operations that
TensorFlow traces.
"""

import inspect
import math
import numbers
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.registry import jet_rules
from keras_smooth.registry.rows import Class, least

# As Keras has it in every dtype.
_LOG_2 = float(np.float32(math.log(2.0)))


def gelu(x: Jet, approximate: bool = True) -> Jet:
    return jet_rules.elementwise(jet_rules.gelu)(x, approximate=approximate)


def _broadcasts(*xs) -> bool:
    """Returns whether entries broadcast as the jets do: no argument adds an axis."""
    ranks = {x.shape.rank for x in xs if isinstance(x, Jet)}
    others = (len(getattr(x, "shape", ())) for x in xs if not isinstance(x, Jet))
    return len(ranks) == 1 and max(others, default=0) <= max(ranks)


def same_rank(product: Callable) -> Callable:
    """Returns the rule of what broadcasts."""

    def rule(x1, x2):
        return product(x1, x2) if _broadcasts(x1, x2) else NotImplemented

    return rule


def power(x1, x2):
    if not isinstance(x2, (int, float)) or x2 != int(x2):
        return NotImplemented
    return jet.power(x1, int(x2))


def linear(function: Callable, x) -> Jet:
    """Applies a function that is linear in a jet, or in a list of jets and constants."""
    leaves = keras.tree.flatten(x)
    if len(leaves) == 1:
        return jet.linear(lambda v: function(keras.tree.pack_sequence_as(x, [v])), *leaves)
    return jet.joint(lambda *vs: function(keras.tree.pack_sequence_as(x, vs)), *leaves)


def keeps_batch(function: Callable) -> Callable:
    """Returns the rule of a linear function, unless its `axis` is that of the batch."""
    default = inspect.signature(function).parameters["axis"].default

    def rule(x, axis=default, **settings):
        touched = axis if isinstance(axis, (list, tuple)) else [axis]
        rank = len(keras.tree.flatten(x)[0].shape)
        if None in touched or 0 in [number % rank for number in touched]:
            return NotImplemented
        return linear(lambda v: function(v, axis=axis, **settings), x)

    return rule


def reshape(x, newshape):
    """Also what folds an axis of each sample into the batch, and takes it out again."""
    old, new = x.shape[1:].num_elements(), math.prod(newshape[1:])
    # A product below 0 has the open size elsewhere.
    if newshape[0] != -1 or not old or new <= 0 or (old % new and new % old):
        return NotImplemented
    apply = jet.linear if old == new else jet.joint
    return apply(lambda v: ops.reshape(v, newshape), x)


def transpose(x, axes=None):
    kept = axes is not None and axes[0] == 0
    return linear(lambda v: ops.transpose(v, axes), x) if kept else NotImplemented


def get_item(x, key):
    first = key[0] if isinstance(key, tuple) else key
    whole = first == slice(None) or first is Ellipsis
    return linear(lambda v: v[key], x) if whole else NotImplemented


def matmul(x1, x2):
    if not isinstance(x2, Jet) and len(x2.shape) == 2:
        return linear(lambda v: ops.matmul(v, x2), x1)
    return NotImplemented


def logsumexp(x, axis=None, keepdims=False):
    touched = axis if isinstance(axis, (list, tuple)) else [axis]
    if None in touched or 0 in [number % x.shape.rank for number in touched]:
        return NotImplemented
    return jet.logsumexp(x, axis, keepdims)


def _as_tensor(x):
    """Returns a constant as Keras takes it, who rounds a number to its default dtype here."""
    return x if isinstance(x, Jet) else ops.convert_to_tensor(x)


def logaddexp(x1, x2) -> Jet:
    """x2 + log(1 + exp(x1 - x2)); nested tapes go through |x1 - x2|."""
    x1, x2 = map(_as_tensor, (x1, x2))
    return x2 + jet.softplus(x1 - x2)


def logaddexp2(x1, x2) -> Jet:
    x1, x2 = map(_as_tensor, (x1, x2))
    return x2 + jet.softplus((x1 - x2) * _LOG_2) / _LOG_2


def ldexp(x1, x2):
    """x1 * 2^x2; TensorFlow has the derivative 1 where x1 is 0."""
    whole = not isinstance(x2, Jet) and isinstance(x1, Jet)
    if not whole or not _broadcasts(x1, x2):
        return NotImplemented
    return x1 * ops.power(ops.cast(2.0, x1.dtype), ops.cast(x2, x1.dtype))


def hypot(x1, x2) -> Jet:
    """The root of the sum of squares; nested tapes go through |x1| and |x2|."""
    x1, x2 = map(_as_tensor, (x1, x2))
    squares = [jet.square(x) if isinstance(x, Jet) else x * x for x in (x1, x2)]
    return jet.sqrt(squares[0] + squares[1])


def _axis_within(x, axis) -> bool:
    """Returns whether an axis is one of each sample, and its size is known."""
    within = isinstance(x, Jet) and isinstance(axis, int) and axis % x.shape.rank > 0
    return within and bool(x.shape[axis])


def cumprod(x, axis=None):
    """Products of the first entries; tapes divide by entries, which may be 0."""
    return jet.cumprod(x, axis) if _axis_within(x, axis) else NotImplemented


def prod(x, axis=None, keepdims=False):
    """The product of entries; tapes of tapes divide by entries, which may be 0."""
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    if not axes or not all(_axis_within(x, axis) for axis in axes):
        return NotImplemented
    axes = [axis % x.shape.rank for axis in axes]
    for axis in axes:
        x = jet.prod(x, axis)
    return x if keepdims else linear(lambda v: ops.squeeze(v, axes), x)


def without_nan(function: Callable) -> Callable:
    """Returns the rule of a product that takes NaN for 1."""

    def rule(x, **settings):
        if not isinstance(x, Jet):
            return NotImplemented
        return function(jet.where(ops.isnan(x.primal), 1.0, x), **settings)

    return rule


def _mean(x: Jet, axes) -> Jet:
    return linear(lambda v: ops.mean(v, axis=axes, keepdims=True), x)


def _keep_batch(axes, x: Jet) -> bool:
    return 0 not in [axis % x.shape.rank for axis in axes]


def moments(x, axes, keepdims=False, synchronized=False):
    """Mean and variance; nested tapes lose the second derivative of the variance."""
    if synchronized or not isinstance(axes, (list, tuple)) or not _keep_batch(axes, x):
        return NotImplemented
    mean = _mean(x, axes)
    both = mean, _mean(jet.square(x - mean), axes)
    if keepdims:
        return both
    return tuple(linear(lambda v: ops.squeeze(v, axes), y) for y in both)


def layer_normalization(x, gamma=None, beta=None, axis=-1, epsilon=None, rms_scaling=False):
    """(x - mean) / root of the variance; nested tapes have a wrong second derivative."""
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    if rms_scaling or not isinstance(x, Jet) or not _keep_batch(axes, x):
        return NotImplemented
    axes = [number % x.shape.rank for number in axes]
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    epsilon = keras.config.epsilon() if epsilon is None else epsilon
    centered = x - _mean(x, axes)
    y = centered / jet.sqrt(_mean(jet.square(centered), axes) + epsilon)
    y = y if gamma is None else y * ops.reshape(gamma, shape)
    return y if beta is None else y + ops.reshape(beta, shape)


def same(x, dtype=None):
    """The rule of what returns its argument, unless it is asked to round it."""
    return x if dtype is None else NotImplemented


def constant(function: Callable) -> Callable:
    """Returns the rule of what is constant near almost every point."""

    def rule(*args, **settings):
        args, settings = keras.tree.map_structure(_primal, (args, settings))
        return function(*args, **settings)

    return rule


def where(condition, x1=None, x2=None):
    condition = ops.cast(_primal(condition), "bool")
    return (
        jet.where(condition, x1, x2) if _broadcasts(condition, x1, x2) else NotImplemented
    )


def where_class(condition=None, x1=None, x2=None) -> Class:
    """It jumps unless the condition is a constant."""
    return -1 if condition is None or keras.backend.is_keras_tensor(condition) else math.inf


def select_class(condlist=(), choicelist=(), default=0) -> Class:
    """It jumps unless the conditions are constants."""
    return least(where_class(condition) for condition in condlist or [None])


def power_class(x1=None, x2=None) -> Class:
    """At 0 a power that is not whole has as many derivatives as it is large.

    A negative one is not finite there.
    """
    if not isinstance(x2, numbers.Real):
        is_base = isinstance(x1, numbers.Real) and float(x1) > 0.0
        return math.inf if is_base else None
    exponent = float(x2)
    is_smooth = exponent < 0.0 or exponent.is_integer()
    return math.inf if is_smooth else math.floor(exponent)


def cast_class(x=None, dtype=None) -> Class:
    """It jumps unless floats stay floats."""
    if dtype is None:
        return math.inf
    return math.inf if "float" in keras.backend.standardize_dtype(dtype) else -1


def crossentropy_class(target=None, output=None, from_logits=False, axis=-1) -> Class:
    """Of probabilities it is cut off near 0 and 1."""
    return math.inf if from_logits else 0


def _primal(x):
    return x.primal if isinstance(x, Jet) else x
