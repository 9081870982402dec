"""Derivatives of a model by Richardson's extrapolation of differences of its values.

A reference for tests that uses no derivative of TensorFlow or of this package.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from keras import tree

LEVELS = 4


@dataclasses.dataclass(frozen=True)
class Derivatives:
    """y, y' and y'' of a model, for each output and each input of floats.

    Args:
        y: Each output, `(batch, ...)`.
        first: For each output `(batch, outputs, d)`, d numbers of all inputs together.
        second: `(batch, outputs, d, d)`.
        inputs: The shape of a sample of each input of floats.
    """

    y: list[np.ndarray]
    first: list[np.ndarray]
    second: list[np.ndarray]
    inputs: list[tuple[int, ...]]

    @property
    def places(self) -> list[slice]:
        """The slice of each input in the concatenation of all inputs."""
        ends = list(itertools.accumulate(map(math.prod, self.inputs), initial=0))
        return [slice(*pair) for pair in itertools.pairwise(ends)]

    @property
    def dy(self) -> list[np.ndarray]:
        return [first[..., i] for first in self.first for i in self.places]

    @property
    def d2y(self) -> list[np.ndarray]:
        return [
            second[..., i, j]
            for second in self.second
            for i in self.places
            for j in self.places
        ]

    @property
    def laplacian(self) -> list[np.ndarray]:
        return [np.trace(second, axis1=-2, axis2=-1) for second in self.second]

    def along(self, v: np.ndarray) -> tuple[list, list, list]:
        """Returns y, y' and y'' along a direction of shape `(batch, d)`."""
        first = [np.einsum("nmi,ni->nm", dy, v) for dy in self.first]
        second = [np.einsum("nmij,ni,nj->nm", d2y, v, v) for d2y in self.second]
        return self.y, first, second


def differences(
    model: Callable, x: Any, step: float, order: int = 2, variables: Sequence = ()
) -> Derivatives:
    """Returns the derivatives of a model in float64 by Richardson's extrapolation.

    Args:
        model: Model, layer or function.
        x: Inputs, arrays in any structure; those without floats are constants.
        step: The largest of four steps, each half of the one before.
        order: 2, or 1 without the second derivatives.
        variables: Variables that a call may assign, which are restored before and after each.
    """
    flat = tree.flatten(x)
    moving = [i for i, part in enumerate(flat) if part.dtype.kind == "f"]
    shapes = [flat[i].shape[1:] for i in moving]
    dims = [math.prod(shape) for shape in shapes]
    state = [np.asarray(v) for v in variables]

    def values(offset: np.ndarray) -> list[np.ndarray]:
        parts = list(flat)
        for i, shape, part in zip(moving, shapes, np.split(offset, np.cumsum(dims)[:-1])):
            parts[i] = flat[i] + part.reshape(shape)
        for variable, value in zip(variables, state):
            variable.assign(value)
        y = model(tree.pack_sequence_as(x, [tf.constant(part) for part in parts]))
        for variable, value in zip(variables, state):
            variable.assign(value)
        return [np.asarray(tf.convert_to_tensor(part)) for part in tree.flatten(y)]

    center = values(np.zeros(sum(dims)))

    @functools.cache
    def line(axes: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        unit = np.zeros(sum(dims))
        unit[list(axes)] = 1.0
        sides = [
            [values(sign * step / 2**k * unit) for sign in (1, -1)] for k in range(LEVELS)
        ]
        return [
            (
                _extrapolated([(p[o] - m[o]) / (2 * step / 2**k) for k, (p, m) in enumerate(sides)]),
                _extrapolated([(p[o] - 2 * y + m[o]) / (step / 2**k) ** 2
                               for k, (p, m) in enumerate(sides)]),
            )
            for o, y in enumerate(center)
        ]  # fmt: skip

    first, second = [], []
    for o, y in enumerate(center):
        rows, d = y.reshape(len(y), -1), sum(dims)

        def along(axes: tuple[int, ...], order: int, o=o, rows=rows) -> np.ndarray:
            return line(axes)[o][order - 1].reshape(rows.shape)

        gradient = np.empty((*rows.shape, d))
        for i in range(d):
            gradient[..., i] = along((i,), 1)
        first.append(gradient)
        if order < 2:
            continue
        hessian = np.empty((*rows.shape, d, d))
        for i in range(d):
            hessian[..., i, i] = along((i,), 2)
        for i, j in itertools.combinations(range(d), 2):
            mixed = (along((i, j), 2) - hessian[..., i, i] - hessian[..., j, j]) / 2
            hessian[..., i, j] = hessian[..., j, i] = mixed
        second.append(hessian)
    return Derivatives(center, first, second, shapes)


def _extrapolated(estimates: list[np.ndarray]) -> np.ndarray:
    """Returns the limit of estimates whose errors are powers of the square of the step."""
    for power in range(1, len(estimates)):
        estimates = [
            finer + (finer - coarser) / (4**power - 1)
            for coarser, finer in itertools.pairwise(estimates)
        ]
    return estimates[0]


def derivative(function, order, largest_step=0.4, halvings=9):
    """Returns the derivative at 0 of a function of a number, and an estimate of its error.

    Central differences of smaller and smaller steps are extrapolated to the step 0
    (Richardson, 1911). The result is the one of the two extrapolations that agree best.

    Args:
        function: Maps a number to an array of float64.
        order: The order of the derivative.
        largest_step: The first step.
        halvings: The number of steps, each half of the one before.
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
