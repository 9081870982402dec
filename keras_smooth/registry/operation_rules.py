"""How operations carry jets, and classes that depend on arguments.

A rule is `rule(*args, **settings)` with the arguments of the function of keras.ops, in
which tensors that depend on x are jets. NotImplemented leaves the case to the operations that
TensorFlow traces.
"""

import math
import numbers
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.registry.rows import Class, least

# As Keras has it in every dtype.
_LOG_2 = float(np.float32(math.log(2.0)))


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
