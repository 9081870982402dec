"""Elementwise functions of two tensors: sums, products, quotients, powers, angles."""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import broadcast_like, inner_leibniz
from keras_smooth.jet.entries import minus, times, total
from keras_smooth.operations.breakpoints import first_input
from keras_smooth.operations.lifting import broadcastable, full_jet
from keras_smooth.operations.rows import add, add_column
from keras_smooth.operations.table.functions import FUNCTIONS, distance_from_poles


def binary_rule(function: Callable) -> Callable:
    """Returns the rule of an operation, from its function of two jets of the same rank."""
    return lambda operation, x, y: function(*broadcastable(x, y))


def _quotient(x: Jet, y: Jet) -> Jet:
    """Returns z = x / y. From z y = x, z_k y_0 is x_k minus the other terms of entry k of z y."""
    z, s = [x.primal / y.primal], y.entries
    for k in range(1, y.order + 1):
        known = total([times(s[k], z[0]), inner_leibniz(y, s, z, k)])
        terms = total([broadcast_like(x.series[k - 1], z[0]), minus(known)])
        z.append(None if terms is None else terms / y.primal)
    return y.like(z[0], z[1:])


def _power(operation: tf.Operation, x: Any, y: Any) -> Jet:
    """The rule of x^y. For a constant y, derivative n is y (y - 1) ... (y - n + 1) x^(y - n)."""
    is_constant = not isinstance(y, Jet)
    x, y = broadcastable(x, y)
    if not is_constant:
        return jet.exp(y * jet.log(x))
    values, factor = [], tf.ones_like(y.primal)
    for n in range(x.order + 1):
        power = tf.pow(x.primal, y.primal - n)
        if n:
            # TensorFlow's power 0 of the complex number 0 is NaN.
            power = tf.where(y.primal == n, tf.ones_like(power), power)
        # If the factor is 0, the power may be infinite.
        values.append(tf.where(factor == 0, tf.zeros_like(power), factor * power))
        factor = factor * (y.primal - n)
    return jet.composed(values, x)


def _atan2(operation: tf.Operation, y: Any, x: Any) -> Jet:
    """The rule of the angle: the series of atan(y / x), or of -atan(x / y) if |y| > |x|."""
    y, x = broadcastable(y, x)
    flat = tf.abs(x.primal) >= tf.abs(y.primal)
    ones = tf.ones_like(x.primal + y.primal)
    first = _quotient(y, jet.where(flat, x, ones))
    second = _quotient(x, jet.where(flat, ones, y))
    angle = FUNCTIONS["Atan"]
    return jet.where(flat, jet.elementwise(angle, first), -jet.elementwise(angle, second))


def _product_or_zero(function: Callable) -> Callable:
    """Returns the rule of x f(y), which is 0 if x is 0 and f(y) is not finite."""

    def apply(x: Jet, y: Jet) -> Jet:
        is_finite = tf.math.is_finite(function(Jet(y.primal, [])).primal)
        safe = jet.where((x.primal == 0) & ~is_finite, tf.ones_like(y.primal), y)
        return x * function(safe)

    return binary_rule(apply)


def _quotient_or_zero(x: Jet, y: Jet) -> Jet:
    """Returns x / y, and 0 where y is 0."""
    is_zero = y.primal == 0
    ratio = _quotient(x, jet.where(is_zero, tf.ones_like(y.primal), y))
    return jet.where(is_zero, tf.zeros_like(ratio.primal), ratio)


def _polygamma(operation: tf.Operation, n: Any, x: Any) -> Any:
    """The rule of psi_n(x), whose derivative is psi_(n + 1)(x)."""
    if isinstance(n, Jet):
        return NotImplemented
    n, x = broadcastable(n, x)
    orders = (n.primal + k for k in range(x.order + 1))
    return jet.composed([tf.math.polygamma(order, x.primal) for order in orders], x)


def _product_no_nan(x: Jet, y: Jet) -> Jet:
    product = x.primal * y.primal
    is_nan = (y.primal == 0) & ~tf.math.is_finite(product)
    return jet.where(is_nan, tf.zeros_like(product), x * y)


def quotient_domain(operation: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> list:
    """Returns a tensor that is positive in the domain of quotients: y is not 0."""
    return [tf.abs(y)]


def _power_domain(operation: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> list:
    """Returns a tensor that is positive in the domain of x^y.

    For an integer y the domain is all x, without 0 if y < 0; else x > 0, or x != 0 if complex.
    """
    if tf.get_static_value(operation.inputs[1]) is None:
        return [x]
    size, power = tf.abs(x), tf.math.real(y)
    reciprocals = tf.where(power < 0, size, tf.ones_like(size))
    is_whole = y == tf.cast(tf.round(power), y.dtype)
    return [tf.where(is_whole, reciprocals, size if x.dtype.is_complex else x)]


def _class_at_zero(operation: tf.Operation, moving: Sequence[bool]) -> float | None:
    """Returns the class of x^y at x = 0: floor(y) for a positive y that is not an integer.

    For a negative y the function is not finite at 0, so that 0 does not count as an edge.
    """
    base, exponents = map(tf.get_static_value, operation.inputs)
    if exponents is None:
        return math.inf if base is not None and np.all(base > 0) else None
    exponents = _real_exponents(exponents)
    fractional = exponents[(exponents > 0) & (exponents != np.round(exponents))]
    return min(map(math.floor, fractional), default=math.inf)


def _real_exponents(exponents: np.ndarray) -> np.ndarray:
    """Returns the exponents whose imaginary part is 0, as real numbers."""
    return np.real(exponents[np.imag(exponents) == 0])


def _power_right_to(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns the order up to which tapes are right at x = 0: y for an integer y >= 0.

    The derivative of this order has the factor x^0, whose gradient at 0 is 0 times infinity. If x
    is complex, x^0 itself is NaN at 0, so that the order is one less.
    """
    exponents = tf.get_static_value(operation.inputs[1])
    if exponents is None:
        return math.inf
    exponents = _real_exponents(exponents)
    integers = exponents[(exponents >= 0) & (exponents == np.round(exponents))]
    least = min(map(float, integers), default=math.inf)
    return max(least - 1, 0) if operation.inputs[0].dtype.is_complex else least


def _class_if_both_move(smoothness: float) -> Callable:
    """Returns the column of an edge where f is finite only if x is 0, as x log(y) at y = 0."""
    return lambda operation, moving: smoothness if all(moving) else math.inf


def _angle_breakpoints(operation: tf.Operation, y: tf.Tensor, x: tf.Tensor) -> list:
    """Returns a tensor that is 0 where the angle jumps: where y is 0 and x is not positive."""
    return [tf.where(x > 0, tf.ones_like(y), y)]


def _factor_right_to(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns 0 if x moves: TensorFlow's gradient with respect to x is wrong, 0, where x is 0."""
    return 0 if moving[0] else math.inf


def sum_of_all(operation: tf.Operation, *xs: Any) -> Jet:
    return functools.reduce(operator.add, [full_jet(x) for x in xs if isinstance(x, Jet)])


add("Add AddV2", binary_rule(lambda x, y: x + y), exact=True)
add("Sub", binary_rule(lambda x, y: x - y), exact=True)
add("Mul", binary_rule(lambda x, y: x * y), exact=True)
add("RealDiv Div", binary_rule(_quotient), exact=True, domain=quotient_domain)
add("DivNoNan", binary_rule(_quotient_or_zero), at_edge=-1, domain=quotient_domain)
add("MulNoNan", binary_rule(_product_no_nan))
add(
    "Pow",
    _power,
    at_edge=_class_at_zero,
    domain=_power_domain,
    tapes_right_to=_power_right_to,
)
add("SquaredDifference", binary_rule(lambda x, y: jet.square(x - y)))
add("Polygamma", _polygamma, left_out=((0, 0),))
add_column("Polygamma", domain=lambda operation, n, x: distance_from_poles(operation, x))
add("Atan2", _atan2, smoothness=-1, breakpoints=_angle_breakpoints)
add("Xdivy", _product_or_zero(jet.reciprocal), domain=quotient_domain)
add("Xlogy", _product_or_zero(jet.log), domain=lambda operation, x, y: [y])
add("Xlog1py", _product_or_zero(jet.log1p), domain=lambda operation, x, y: [y + 1.0])
add_column("Xdivy", at_edge=_class_if_both_move(-1))
add_column("Xlog1py Xlogy", at_edge=_class_if_both_move(0))
add_column("Xdivy Xlog1py Xlogy", tapes_right_to=_factor_right_to)
add_column("Pow Xdivy Xlog1py Xlogy", wrong_at=first_input)
# These are in a model that computes gradients itself, for example those of a potential.
add("SigmoidGrad", binary_rule(lambda y, dy: dy * (y - y * y)))
add("SoftplusGrad", binary_rule(lambda dy, x: dy * jet.elementwise(jet.sigmoid, x)))
add("TanhGrad", binary_rule(lambda y, dy: dy - dy * y * y))
add("AccumulateNV2", sum_of_all)
