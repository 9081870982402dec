"""Derivatives along a line by differences of values alone, with an estimate of their error."""

import math

import numpy as np


def derivative(function, order, largest_step=0.4, halvings=9):
    """Returns the derivative at 0 of a function of a number, and how wrong it may be.

    Central differences of smaller and smaller steps, extrapolated to the step 0
    (Richardson, 1911): the two that agree best are taken.

    Args:
        function: Of a number, gives an array of float64.
        order: Which derivative.
        largest_step: The first step.
        halvings: How often it is halved.
    """
    rows, best = [], (math.inf, None)
    for level in range(halvings):
        step = largest_step / 2**level
        values = [function((order / 2 - j) * step) for j in range(order + 1)]
        signs = [(-1) ** j * math.comb(order, j) for j in range(order + 1)]
        row = [sum(sign * value for sign, value in zip(signs, values)) / step**order]
        for column in range(1, level + 1):
            last = row[-1]
            row.append(last + (last - rows[-1][column - 1]) / (4**column - 1))
        if level:
            error = np.max(np.abs(row[-1] - rows[-1][-1]), initial=0.0)
            if error < best[0]:
                best = (error, row[-1])
        rows.append(row)
    return best[1], best[0]
