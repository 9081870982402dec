"""One-sided limits of derivatives from values alone: the slow reference for classes C^k."""

import numpy as np
from numpy.polynomial import Chebyshev

WIDTH = 0.05
DEGREE = 9
# Interpolation error and rounding of values near 1, amplified by (DEGREE^2 / WIDTH)^order.
TOLERANCE = {0: 1e-11, 1: 1e-8, 2: 1e-5, 3: 1e-2}


def limits(function, joint: float, side: int, max_order: int) -> list[float]:
    """Returns the limits of f, f', ... at `joint` from one side (-1 or +1).

    A polynomial through values strictly on that side is differentiated at the joint.
    """
    domain = (joint, joint + WIDTH) if side > 0 else (joint - WIDTH, joint)
    nodes = np.polynomial.chebyshev.chebpts1(DEGREE + 1)
    x = (domain[0] + domain[1] + nodes * WIDTH) / 2
    interpolant = Chebyshev.fit(x, function(x), DEGREE, domain=domain)
    return [
        float(interpolant.deriv(k)(joint)) if k else float(interpolant(joint))
        for k in range(max_order + 1)
    ]


def jumps(function, joint: float, max_order: int, noise: float = 1.0) -> list[bool]:
    """Returns for each order whether the limits from both sides differ.

    `noise` is the factor by which the function rounds more coarsely than float64.
    """
    left, right = (limits(function, joint, side, max_order) for side in (-1, 1))
    scale = 1.0 + max(map(abs, left + right))
    return [
        abs(a - b) > noise * TOLERANCE[k] * scale
        for k, (a, b) in enumerate(zip(left, right))
    ]


def smoothness(function, breakpoints, max_order: int = 3, noise: float = 1.0) -> float:
    """Returns k of the class C^k at the breakpoints, or infinity if it exceeds `max_order`."""
    broken = [jumps(function, joint, max_order, noise) for joint in breakpoints]
    orders = [row.index(True) for row in broken if True in row]
    return min(orders) - 1 if orders else float("inf")
