"""Elementwise functions of one tensor, real or complex, with their domains."""

import functools
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import map_entries
from keras_smooth.jet.special import bessel
from keras_smooth.operations.breakpoints import first_input, integer_distance
from keras_smooth.operations.lifting import (
    add_linear,
    full_jet,
    lift_last_axes,
    linear_rule,
    same_rank,
)
from keras_smooth.operations.rows import add, add_column


def unary_rule(function: Callable[[Jet], Jet]) -> Callable:
    """Returns the rule of an elementwise operation, from its function of jets."""
    return lambda operation, x: jet.elementwise(function, x)


def _alternating(first: Callable, second: Callable) -> Callable[[Jet], Jet]:
    """Returns a function of jets whose derivatives alternate between two functions."""

    def function(x: Jet) -> Jet:
        values = [first(x.primal), second(x.primal)]
        return jet.composed([values[n % 2] for n in range(x.order + 1)], x)

    return function


def _primitive(function: Callable, slope: Callable[[Jet], Jet]) -> Callable[[Jet], Jet]:
    """Returns a function of jets, from a function of tensors and its derivative for jets."""
    return lambda x: jet.primitive(x, function(x.primal), slope)


def _reciprocal_root(x: Jet) -> Jet:
    return jet.reciprocal(jet.sqrt(x))


def _solution_of(function: Callable, slope: Callable[[Jet, Jet], Jet]) -> Callable:
    """Returns the function of jets that solves y' = slope(x, y) x', from y of tensors."""

    def apply(x: Jet) -> Jet:
        def entry(y: list, k: int) -> Any:
            return slope(Jet(x.primal, x.series[:k]), Jet(y[0], y[1:])).entries[k]

        return jet.solve(x, function(x.primal), entry)

    return apply


def _polygammas(x: tf.Tensor, number: int) -> list[tf.Tensor]:
    """Returns the digamma function and its derivatives, `number` functions in all."""
    orders = (tf.cast(n, x.dtype) * tf.ones_like(x) for n in range(1, number))
    return [tf.math.digamma(x), *(tf.math.polygamma(n, x) for n in orders)]


def _lgamma(x: Jet) -> Jet:
    values = [tf.math.lgamma(x.primal), *_polygammas(x.primal, x.order)]
    return jet.composed(values[: x.order + 1], x)


def _digamma(x: Jet) -> Jet:
    return jet.composed(_polygammas(x.primal, x.order + 1), x)


def _softsign(x: Jet) -> Jet:
    return x / (jet.where(x.primal < 0, -x, x) + 1.0)


_ROOT_PI, _ROOT_2_PI = math.sqrt(math.pi), math.sqrt(2.0 * math.pi)
FUNCTIONS: dict[str, Callable[[Jet], Jet]] = {
    "Acos": _primitive(tf.acos, lambda x: -_reciprocal_root(1.0 - jet.square(x))),
    "Acosh": _primitive(tf.acosh, lambda x: _reciprocal_root(jet.square(x) - 1.0)),
    "Asin": _primitive(tf.asin, lambda x: _reciprocal_root(1.0 - jet.square(x))),
    "Asinh": _primitive(tf.asinh, lambda x: _reciprocal_root(jet.square(x) + 1.0)),
    "Atan": _primitive(tf.atan, lambda x: jet.reciprocal(jet.square(x) + 1.0)),
    "Atanh": _primitive(tf.atanh, lambda x: jet.reciprocal(1.0 - jet.square(x))),
    "BesselI0": functools.partial(bessel, kind=0, sign=1),
    "BesselI1": functools.partial(bessel, kind=1, sign=1),
    "BesselJ0": functools.partial(bessel, kind=0, sign=-1),
    "BesselJ1": functools.partial(bessel, kind=1, sign=-1),
    "Cos": jet.cos,
    "Cosh": _alternating(tf.cosh, tf.sinh),
    "Dawsn": _solution_of(tf.math.special.dawsn, lambda x, y: 1.0 - 2.0 * x * y),
    "Digamma": _digamma,
    "Erf": jet.erf,
    "Erfc": _primitive(tf.math.erfc, lambda x: -2.0 / _ROOT_PI * jet.exp(-jet.square(x))),
    "Erfinv": _solution_of(
        tf.math.erfinv, lambda x, y: _ROOT_PI / 2.0 * jet.exp(jet.square(y))
    ),
    "Exp": jet.exp,
    "Expint": _primitive(tf.math.special.expint, lambda x: jet.exp(x) / x),
    "Expm1": jet.expm1,
    "Inv": jet.reciprocal,
    "Lgamma": _lgamma,
    "Log": jet.log,
    "Log1p": jet.log1p,
    "Ndtri": _solution_of(
        tf.math.ndtri, lambda x, y: _ROOT_2_PI * jet.exp(0.5 * jet.square(y))
    ),
    "Reciprocal": jet.reciprocal,
    "Rsqrt": _reciprocal_root,
    "Sigmoid": jet.sigmoid,
    "Sin": jet.sin,
    "Sinh": _alternating(tf.sinh, tf.cosh),
    "Softplus": jet.softplus,
    "Sqrt": jet.sqrt,
    "Square": jet.square,
    "Tan": _solution_of(tf.tan, lambda x, y: jet.square(y) + 1.0),
    "Tanh": jet.tanh,
}


def itself(operation: tf.Operation, x: tf.Tensor) -> list:
    """Returns the input as a list, for the domain x > 0 or the breakpoint 0."""
    return [x]


def distance_from_poles(operation: tf.Operation, x: tf.Tensor) -> list:
    """Returns the distance from the poles of the gamma function, which are 0, -1, -2, ..."""
    return [tf.where(x < 0.5, tf.abs(integer_distance(x)), x)]


# The rules of these compute the function from others.
_INEXACT = ("BesselI0", "BesselI1", "BesselJ0", "BesselJ1", "Rsqrt")
for _kind, _function in FUNCTIONS.items():
    add(_kind, unary_rule(_function), exact=_kind not in _INEXACT)
# The domains of functions that are not defined everywhere.
add_column("Acos Asin Atanh Erfinv", domain=lambda operation, x: [1.0 - tf.abs(x)])
add_column("Acosh", domain=lambda operation, x: [x - 1.0])
add_column("Digamma Lgamma", domain=distance_from_poles)
add_column("Expint Log Rsqrt Sqrt", domain=itself)
add_column("Inv Reciprocal", domain=lambda operation, x: [tf.abs(x)])
add_column("Log1p", domain=lambda operation, x: [x + 1.0])
add_column("Ndtri", domain=lambda operation, x: [x, 1.0 - x])
add_column("Tan", domain=lambda operation, x: [tf.abs(tf.cos(x))])
# At the edge of their domain, these functions are finite and their derivatives infinite.
add_column("Acos Acosh Asin Sqrt", at_edge=0)
# At 0 TensorFlow's higher derivatives are wrong or NaN.
add_column("BesselI1", tapes_right_to=0)
add_column("BesselI0 BesselJ1", tapes_right_to=1)
add_column("BesselJ0", tapes_right_to=2)
add_column("BesselI0 BesselI1 BesselJ0 BesselJ1", wrong_at=first_input)
add(
    "Softsign",
    unary_rule(_softsign),
    smoothness=1,
    breakpoints=itself,
    tapes_right_to=1,
)
# At 1 TensorFlow's gradient of Spence's function is a constant, whose derivative is 0.
add_column("Spence", tapes_right_to=1, wrong_at=lambda operation, x: x - 1.0)
add("Neg", lambda operation, x: -x, exact=True)
add_linear("Conj Imag Real", lift_last_axes)


def _real_and_imaginary(x: Jet) -> list[Jet]:
    """Returns the real and the imaginary part of a complex jet."""
    x = full_jet(x)
    return [
        map_entries(x, function(x.primal), function)
        for function in (tf.math.real, tf.math.imag)
    ]


def _modulus(operation: tf.Operation, x: Jet) -> Jet:
    real, imaginary = map(jet.square, _real_and_imaginary(x))
    return jet.elementwise(jet.sqrt, real + imaginary)


def _angle(operation: tf.Operation, x: Jet) -> Jet:
    return _real_and_imaginary(jet.elementwise(jet.log, x))[1]


def _angle_breakpoints(operation: tf.Operation, x: tf.Tensor) -> list:
    """Returns a signed distance from the negative real numbers, where the angle jumps."""
    real, imaginary = tf.math.real(x), tf.math.imag(x)
    return [tf.where(real > 0, tf.ones_like(real), imaginary)]


_joined_parts = linear_rule(lambda operation, *parts: tf.complex(*parts), slice(None))
add(
    "Complex",
    lambda operation, *parts: _joined_parts(operation, *same_rank(*parts)),
    exact=True,
)
add("ComplexAbs", _modulus, at_edge=0, domain=lambda operation, x: [tf.abs(x)])
add("Angle", _angle, smoothness=-1, breakpoints=_angle_breakpoints)
