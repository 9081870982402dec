"""Functions of single numbers, and of two numbers that broadcast."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import inner, minus, times, total
from keras_smooth.operations.breakpoints import from_integer
from keras_smooth.operations.lifting import linear, of_one_rank, primal, run, whole
from keras_smooth.operations.rows import add, is_smooth


def _of_one(function: Callable[[Jet], Jet]) -> Callable:
    """Returns the rule of a function of single numbers, from one of jets."""
    return lambda operation, x: jet.elementwise(function, x)


def _square_plus(x: Jet, constant: float, sign: float = 1.0) -> Jet:
    return sign * jet.square(x) + constant


def _tan(x: Jet) -> Jet:
    def slope(y: list, k: int) -> Any:
        return jet.square(Jet(y[0], y[1:])).entries[k] if k else 1.0 + tf.square(y[0])

    return jet.solve(x, tf.tan(x.primal), slope)


def _hyperbolic(first: Callable, second: Callable) -> Callable[[Jet], Jet]:
    """Returns a function whose derivatives are two functions in turns."""

    def function(x: Jet) -> Jet:
        values = [first(x.primal), second(x.primal)]
        return jet.composed([values[n % 2] for n in range(x.order + 1)], x)

    return function


def _inverse(function: Callable, slope: Callable[[Jet], Jet]) -> Callable[[Jet], Jet]:
    """Returns a function whose derivative is a known function of jets."""
    return lambda x: jet.primitive(x, function(x.primal), slope)


def _reciprocal_root(x: Jet) -> Jet:
    return jet.reciprocal(jet.sqrt(x))


def _inverse_of_integral(function: Callable, scale: float, rate: float) -> Callable:
    """Returns a function that obeys y' = scale exp(rate y^2) x'."""

    def apply(x: Jet) -> Jet:
        def slope(y: list, k: int) -> Any:
            return (scale * jet.exp(rate * jet.square(Jet(y[0], y[1:])))).entries[k]

        return jet.solve(x, function(x.primal), slope)

    return apply


def _lgamma(x: Jet) -> Jet:
    values = [tf.math.lgamma(x.primal), *_polygammas(x.primal, 0, x.order)]
    return jet.composed(values[: x.order + 1], x)


def _polygammas(x: tf.Tensor, least: int, number: int) -> list[tf.Tensor]:
    values = [
        tf.math.polygamma(tf.cast(least + n, x.dtype) * tf.ones_like(x), x)
        for n in range(number)
    ]
    return [tf.math.digamma(x), *values[1:]] if least == 0 and number else values


def _digamma(x: Jet) -> Jet:
    return jet.composed(_polygammas(x.primal, 0, x.order + 1), x)


def _bell_curve(scale: float) -> Callable[[Jet], Jet]:
    return lambda x: scale * jet.exp(-jet.square(x))


_ROOT_PI = math.sqrt(math.pi)
_FUNCTIONS = {
    "Acos": _inverse(tf.acos, lambda x: -_reciprocal_root(_square_plus(x, 1.0, -1.0))),
    "Acosh": _inverse(tf.acosh, lambda x: _reciprocal_root(_square_plus(x, -1.0))),
    "Asin": _inverse(tf.asin, lambda x: _reciprocal_root(_square_plus(x, 1.0, -1.0))),
    "Asinh": _inverse(tf.asinh, lambda x: _reciprocal_root(_square_plus(x, 1.0))),
    "Atan": _inverse(tf.atan, lambda x: jet.reciprocal(_square_plus(x, 1.0))),
    "Atanh": _inverse(tf.atanh, lambda x: jet.reciprocal(_square_plus(x, 1.0, -1.0))),
    "BesselI0": jet.i0,
    "Cos": jet.cos,
    "Cosh": _hyperbolic(tf.cosh, tf.sinh),
    "Digamma": _digamma,
    "Erf": jet.erf,
    "Erfc": _inverse(tf.math.erfc, _bell_curve(-2.0 / _ROOT_PI)),
    "Erfinv": _inverse_of_integral(tf.math.erfinv, _ROOT_PI / 2.0, 1.0),
    "Exp": jet.exp,
    "Expint": _inverse(tf.math.special.expint, lambda x: jet.exp(x) / x),
    "Expm1": jet.expm1,
    "Inv": jet.reciprocal,
    "Lgamma": _lgamma,
    "Log": jet.log,
    "Log1p": jet.log1p,
    "Ndtri": _inverse_of_integral(tf.math.ndtri, math.sqrt(2.0 * math.pi), 0.5),
    "Reciprocal": jet.reciprocal,
    "Rsqrt": _reciprocal_root,
    "Sigmoid": jet.sigmoid,
    "Sin": jet.sin,
    "Sinh": _hyperbolic(tf.sinh, tf.cosh),
    "Softplus": jet.softplus,
    "Sqrt": jet.sqrt,
    "Square": jet.square,
    "Tan": _tan,
    "Tanh": jet.tanh,
}


def _within_one(operation: tf.Operation, x: tf.Tensor) -> list:
    return [1.0 - tf.abs(x)]


def _above_zero(operation: tf.Operation, x: tf.Tensor) -> list:
    return [x]


def _off_zero(operation: tf.Operation, x: tf.Tensor) -> list:
    return [tf.abs(x)]


def _off_poles(operation: tf.Operation, x: tf.Tensor) -> list:
    """Of the gamma function, at 0 and all integers below."""
    return [tf.where(x < 0.5, tf.abs(from_integer(x)), x)]


# Where a function is not defined everywhere: tensors that are positive inside the domain.
_DOMAINS: dict[str, Callable] = {
    "Acos": _within_one,
    "Acosh": lambda operation, x: [x - 1.0],
    "Asin": _within_one,
    "Atanh": _within_one,
    "Digamma": _off_poles,
    "Erfinv": _within_one,
    "Expint": _above_zero,
    "Inv": _off_zero,
    "Lgamma": _off_poles,
    "Log": _above_zero,
    "Log1p": lambda operation, x: [x + 1.0],
    "Ndtri": lambda operation, x: [x, 1.0 - x],
    "Reciprocal": _off_zero,
    "Rsqrt": _above_zero,
    "Sqrt": _above_zero,
    "Tan": lambda operation, x: [tf.abs(tf.cos(x))],
}
# They have a value at the edge, and an infinite slope.
_STEEP = ("Acos", "Acosh", "Asin", "Sqrt")
for _kind, _function in _FUNCTIONS.items():
    add(
        _kind,
        _of_one(_function),
        at_edge=0 if _kind in _STEEP else math.inf,
        domain=_DOMAINS.get(_kind),
        # At 0 TensorFlow's second derivative of the Bessel function is no number.
        tapes_right_to=1 if _kind == "BesselI0" else math.inf,
    )


def _of_two(function: Callable) -> Callable:
    """Returns the rule of a function of two numbers, from one of jets of one rank."""
    return lambda operation, x, y: function(*of_one_rank(x, y))


def quotient(x: Any, y: Any) -> Jet:
    """x / y: z y = x, so that z_k y_0 = x_k less the other terms of entry k of z y."""
    if not isinstance(y, Jet):
        return x.like(x.primal / y, [None if v is None else v / y for v in x.series])
    numerators = x.series if isinstance(x, Jet) else [None] * y.order
    z, s = [primal(x) / y.primal], y.entries
    for k in range(1, y.order + 1):
        terms = ((s[j], z[k - j], math.comb(k, j)) for j in range(1, k))
        known = total([times(s[k], z[0]), inner(y, k, terms)])
        rest = total([_grown(numerators[k - 1], z[0]), minus(known)])
        z.append(None if rest is None else rest / y.primal)
    return y.like(z[0], z[1:])


def _grown(value: Any, like: tf.Tensor) -> Any:
    """Returns an entry that is broadcast, but for the axis of the samples."""
    if value is None or value.shape[2:] == like.shape[1:]:
        return value
    return value * tf.ones_like(like)


def _raised(operation: tf.Operation, x: Any, y: Any) -> Jet:
    """x^y; by a constant, its derivatives are y (y - 1) ... (y - n + 1) x^(y - n)."""
    x, y = of_one_rank(x, y)
    if isinstance(y, Jet):
        logarithm = jet.log(x) if isinstance(x, Jet) else tf.math.log(x)
        return jet.exp(y * logarithm)
    x = x if x.shape[1:] == tf.broadcast_static_shape(x.shape, y.shape)[1:] else (
        x * tf.ones_like(x.primal + y)
    )  # fmt: skip
    values, factor = [], tf.ones_like(y)
    for n in range(x.order + 1):
        power = tf.pow(x.primal, y - n)
        # Where the factor is 0 the power may be infinite.
        values.append(tf.where(factor == 0, tf.zeros_like(power), factor * power))
        factor = factor * (y - n)
    return jet.composed(values, x)


def _atan2(operation: tf.Operation, y: Any, x: Any) -> Jet:
    """The angle: atan(y / x), or -atan(x / y) where y is the larger, up to a constant."""
    y, x = of_one_rank(y, x)
    flat = tf.abs(primal(x)) >= tf.abs(primal(y))
    ones = tf.ones_like(primal(x) + primal(y))
    below, beside = jet.where(flat, *_jets(x, ones)), jet.where(flat, *_jets(ones, y))
    first, second = _divided(y, below), _divided(x, beside)
    angle = _FUNCTIONS["Atan"]
    return jet.where(flat, _applied(angle, first, y, x), -_applied(angle, second, y, x))


def _jets(x: Any, y: Any) -> tuple:
    return x, y


def _divided(x: Any, y: Any) -> Any:
    return quotient(x, y) if isinstance(x, Jet) or isinstance(y, Jet) else x / y


def _applied(function: Callable, x: Any, *others: Any) -> Jet:
    return jet.elementwise(function, x)


def _product_or_zero(function: Callable) -> Callable:
    """Returns x f(y), which is 0 where x is."""

    def apply(x: Any, y: Any) -> Any:
        zero = primal(x) == 0
        safe = jet.where(zero, tf.ones_like(primal(y)), y) if isinstance(y, Jet) else (
            tf.where(zero, tf.ones_like(y), y)
        )  # fmt: skip
        values = x * (
            function(safe) if isinstance(safe, Jet) else _of_tensor(function, safe)
        )
        return values

    return _of_two(apply)


def _of_tensor(function: Callable, value: tf.Tensor) -> tf.Tensor:
    return function(Jet(value, [])).primal


def _softsign(x: Jet) -> Jet:
    return x / (jet.where(x.primal < 0, -x, x) + 1.0)


def _no_nan(x: Any, y: Any) -> Any:
    """x / y, and 0 where y is."""
    zero = primal(y) == 0
    safe = jet.where(zero, tf.ones_like(primal(y)), y) if isinstance(y, Jet) else (
        tf.where(zero, tf.ones_like(y), y)
    )  # fmt: skip
    return jet.where(zero, tf.zeros_like(primal(x) / primal(safe)), quotient(x, safe))


def _difference_squared(x: Any, y: Any) -> Jet:
    return jet.square(x - y)


def _polygamma(operation: tf.Operation, n: Any, x: Any) -> Any:
    """psi_n(x), whose derivative is psi_(n + 1)(x)."""
    if isinstance(n, Jet):
        return NotImplemented
    n, x = of_one_rank(n, x)
    return jet.composed([tf.math.polygamma(n + k, x.primal) for k in range(x.order + 1)], x)


def _slope_of_softplus(x: Any) -> Any:
    return jet.elementwise(jet.sigmoid, x) if isinstance(x, Jet) else tf.sigmoid(x)


def _product_no_nan(x: Any, y: Any) -> Jet:
    zero = primal(y) == 0
    return jet.where(zero, tf.zeros_like(primal(x) * primal(y)), x * y)


def _divisor_off_zero(operation: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> list:
    return [tf.abs(y)]


def _base(operation: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> list:
    """The numbers that can be raised to a power: all, for one that is whole."""
    if tf.get_static_value(operation.inputs[1]) is None:
        return [x]
    reciprocals = tf.where(y < 0, tf.abs(x), tf.ones_like(x))
    return [tf.where(y == tf.round(y), reciprocals, x)]


def _power_at_zero(operation: tf.Operation, moving: Sequence[bool]) -> float | None:
    """A power that is not whole has as many derivatives at 0 as it is large.

    A negative one is not finite there.
    """
    base, exponents = map(tf.get_static_value, operation.inputs)
    if exponents is None:
        return math.inf if base is not None and np.all(base > 0) else None
    broken = exponents[(exponents > 0) & (exponents != np.round(exponents))]
    return min((math.floor(each) for each in np.ravel(broken)), default=math.inf)


def _right_at_zero(operation: tf.Operation) -> float:
    """At 0 the gradient of the power 0 is 0 times infinity: tapes end with a whole power."""
    exponents = tf.get_static_value(operation.inputs[1])
    if exponents is None:
        return math.inf
    whole = exponents[(exponents >= 0) & (exponents == np.round(exponents))]
    return min((float(each) for each in np.ravel(whole)), default=math.inf)


def _where_both_are_zero(smoothness: float) -> Callable:
    """Returns the class of what is finite at the edge only where x is 0 too, as x log(x)."""
    return lambda operation, moving: smoothness if all(moving) else math.inf


def _off_the_cut(operation: tf.Operation, y: tf.Tensor, x: tf.Tensor) -> list:
    """An angle jumps where y is 0 and x is not positive."""
    return [tf.where(x > 0, tf.ones_like(y), y)]


add("Add AddV2", _of_two(lambda x, y: x + y))
add("Sub", _of_two(lambda x, y: x - y))
add("Mul", _of_two(lambda x, y: x * y))
add("RealDiv Div", _of_two(quotient), domain=_divisor_off_zero)
add("DivNoNan", _of_two(_no_nan), at_edge=-1, domain=_divisor_off_zero)
add("MulNoNan", _of_two(_product_no_nan))
add(
    "Pow",
    _raised,
    at_edge=_power_at_zero,
    domain=_base,
    tapes_right_to=_right_at_zero,
)
add("SquaredDifference", _of_two(_difference_squared))
add("Polygamma", _polygamma, domain=lambda operation, n, x: _off_poles(operation, x))
add("Atan2", _atan2, smoothness=-1, breakpoints=_off_the_cut)
add(
    "Xlogy",
    _product_or_zero(jet.log),
    at_edge=_where_both_are_zero(0),
    domain=lambda operation, x, y: [y],
)
add(
    "Xlog1py",
    _product_or_zero(jet.log1p),
    at_edge=_where_both_are_zero(0),
    domain=lambda operation, x, y: [y + 1.0],
)
add(
    "Xdivy",
    _product_or_zero(jet.reciprocal),
    at_edge=_where_both_are_zero(-1),
    domain=_divisor_off_zero,
)
# Gradients that a model takes itself, as of a potential.
add("SigmoidGrad", _of_two(lambda y, dy: dy * (y - y * y)))
add("SoftplusGrad", _of_two(lambda dy, x: dy * _slope_of_softplus(x)))
add("TanhGrad", _of_two(lambda y, dy: dy - dy * y * y))
add(
    "Softsign",
    _of_one(_softsign),
    smoothness=1,
    breakpoints=lambda operation, x: [x],
    tapes_right_to=1,
)


def _same(operation: tf.Operation, *xs: Any) -> list:
    """The rule of what gives its inputs back, whatever its gradient is declared to be."""
    return list(xs[: len(operation.outputs)])


def _cast(operation: tf.Operation, x: Jet) -> Jet:
    dtype = operation.get_attr("DstT")
    series = [None if value is None else tf.cast(value, dtype) for value in x.series]
    return x.like(run(operation, [x.primal]), series)


def _cast_class(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Rounding is left out of account, but for floats of 8 bits: these are steps."""
    dtype = operation.get_attr("DstT")
    return math.inf if is_smooth(dtype) and dtype.size > 1 else -1


def _sum_of_all(operation: tf.Operation, *xs: Any) -> Jet:
    jets = [whole(x) for x in xs if isinstance(x, Jet)]
    result = jets[0]
    for other in jets[1:]:
        result = result + other
    return result


def _declared_to(operation: tf.Operation) -> float:
    """Returns up to which order a gradient that is declared is taken to be the true one.

    That of a function's author holds at order 1, as for `tf.custom_gradient`; the one that
    TensorFlow declares for x sigmoid(x), which saves memory, holds at all.
    """
    if "_gradient_op_type" not in operation.node_def.attr:
        return math.inf
    maker = operation.inputs[0].op
    kinds = {each.op.type for each in maker.inputs}
    return math.inf if maker.type == "Mul" and "Sigmoid" in kinds else 1


add(
    "CheckNumerics CheckNumericsV2 EnsureShape Identity PlaceholderWithDefault Print PrintV2 "
    "Snapshot",
    _same,
    exact=True,
)
# What a model declares about its gradient, a mean that is held among them, is right at order
# 1 if at all.
add("PreventGradient StopGradient", _same, exact=True, tapes_right_to=1)
add("IdentityN", _same, exact=True, tapes_right_to=_declared_to)
add("AccumulateNV2 AddN", _sum_of_all)
add(
    "Cast",
    _cast,
    exact=True,
    smoothness=_cast_class,
)
add("Neg", lambda operation, x: -x, exact=True)
add("Conj", linear(lambda operation, v: tf.math.conj(v)), exact=True)
