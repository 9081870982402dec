"""Updates by self-scaled members of Broyden's class: how much of the old matrix stays.

Also whether a step tells a curvature, without which there is no update.

With a step s, a change of the gradient y, the old matrix H, u = H y, q = y.u and rho = 1 / (y.s),

    H_new = (H - u u' / q + phi q v v') / tau + rho s s',   v = rho s - u / q

A member says tau and phi by two numbers that cost nothing, b = s.B s / (y.s) with the inverse B of
H, and h = q / (y.s). Of BFGS phi is 1, and tau is cut off where it would shrink the old matrix.

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

# Where h b - 1 is more, tau and phi of Broyden are so far from 1 that rounding spoils the matrix:
# of the badly scaled problems of More, Garbow and Hillstrom without such a bound one is not solved,
# with 1e2 to 1e6 all are.
MOST_A = 1e3


def curvature_of(step: Vector, change: Vector) -> tuple[Scalar, Scalar, Scalar]:
    """Returns y.s, y.y, and whether the pair is kept: y.s is above what rounding makes.

    Args:
        step: s, `(n,)`.
        change: y, `(n,)`.

    Returns:
        y.s, but 1 where the pair is not kept; y.y; and whether it is kept.
    """
    curvature, square = dot(step, change), dot(change, change)
    eps = 2.0**-52 if step.dtype == tf.float64 else 2.0**-23
    kept = curvature > eps * tf.sqrt(dot(step, step)) * tf.sqrt(square)
    return tf.where(kept, curvature, tf.ones_like(curvature)), square, kept


def bfgs(b: tf.Tensor, h: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns tau and phi of self-scaled BFGS."""
    del h
    ones = tf.ones_like(b)
    return ones / tf.maximum(b, ones), ones


def broyden(b: tf.Tensor, h: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns tau and phi of self-scaled Broyden.

    The papers have a factor |1 + a theta|^(1 / (1 - n)) in tau, which is 1 for n weights that
    are many, and cases by the sign of theta, which are one formula without it. Far from any
    quadratic function it is BFGS.
    """
    ones = tf.ones_like(b)
    # By Cauchy and Schwarz h b >= 1; rounding may hide it.
    a = tf.maximum(h * b - ones, ones * 1e-12)
    least = tf.minimum(ones, h * (ones - tf.sqrt(a / (ones + a))))
    theta = tf.maximum((least - ones) / a, tf.minimum(ones / least, (ones - b) / b))
    tau, phi = least / tf.maximum(theta, ones), (ones - theta) / (ones + a * theta)
    of_bfgs = bfgs(b, h)
    moderate = a < MOST_A
    return tf.where(moderate, tau, of_bfgs[0]), tf.where(moderate, phi, of_bfgs[1])
