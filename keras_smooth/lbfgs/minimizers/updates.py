"""The updates of an inverse Hessian by self-scaled members of Broyden's class.

Let s be a step, y the change of the gradient along it, H the old matrix, u = H y, q = y.u and
rho = 1 / (y.s). The new matrix is

    H_new = (H - u u' / q + phi q v v') / tau + rho s s',   v = rho s - u / q

A member of the class is a function that returns tau and phi from two numbers that are known anyway:
b = s.B s / (y.s) with the inverse B of H, and h = q / (y.s). For BFGS, phi is 1, and tau is at most
1: the old matrix is never made smaller.

There is no update if the curvature y.s is lost in rounding.

References:
    Al-Baali, 1998, "Numerical experience with a class of self-scaling quasi-Newton algorithms",
    Journal of Optimization Theory and Applications 96; Urban, Stefanou and Pons, 2025, "Unveiling
    the optimization process of physics informed neural networks", Journal of Computational
    Physics 523; Kiyani et al., 2025, "Optimizing the optimizer for physics-informed neural
    networks and Kolmogorov-Arnold networks", Computer Methods in Applied Mechanics and
    Engineering 446.
"""

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.line_search import dot
from keras_smooth.lbfgs.minimizers.shapes import Scalar, Vector
from keras_smooth.models.agreement import EPSILON

# The largest a = h b - 1 for which Broyden's tau and phi are used. For a larger one they are so far
# from 1 that rounding spoils the matrix. Without such a bound, one of the badly scaled problems of
# More, Garbow and Hillstrom is not solved; with a bound of 1e2 to 1e6, all are.
MAX_A = 1e3


def curvature_of(step: Vector, change: Vector) -> tuple[Scalar, Scalar, Scalar]:
    """Returns the curvature y.s, y.y, and whether the curvature is larger than rounding errors.

    Args:
        step: s, `(n,)`.
        change: y, `(n,)`.

    Returns:
        y.s, or 1 if the pair is not kept; y.y; and whether the pair is kept.
    """
    curvature, square = dot(step, change), dot(change, change)
    rounding = EPSILON[step.dtype.name]
    is_kept = curvature > rounding * tf.sqrt(dot(step, step)) * tf.sqrt(square)
    return tf.where(is_kept, curvature, tf.ones_like(curvature)), square, is_kept


def bfgs(b: tf.Tensor, h: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns tau and phi of self-scaled BFGS."""
    del h
    ones = tf.ones_like(b)
    return ones / tf.maximum(b, ones), ones


def broyden(b: tf.Tensor, h: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns tau and phi of self-scaled Broyden.

    In the papers, tau has a factor |1 + a theta|^(1 / (1 - n)), which is close to 1 for many
    weights n. Without this factor, their cases by the sign of theta are one formula. For a large
    h b, where the function is far from quadratic, this is BFGS.
    """
    ones = tf.ones_like(b)
    # By the Cauchy-Schwarz inequality h b >= 1, but rounding may violate it.
    a = tf.maximum(h * b - ones, ones * 1e-12)
    least = tf.minimum(ones, h * (ones - tf.sqrt(a / (ones + a))))
    theta = tf.maximum((least - ones) / a, tf.minimum(ones / least, (ones - b) / b))
    tau, phi = least / tf.maximum(theta, ones), (ones - theta) / (ones + a * theta)
    bfgs_tau, bfgs_phi = bfgs(b, h)
    moderate = a < MAX_A
    return tf.where(moderate, tau, bfgs_tau), tf.where(moderate, phi, bfgs_phi)
