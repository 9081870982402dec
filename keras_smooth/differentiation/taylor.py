"""Derivatives of a model from jets: directions in, partial derivatives out."""

import functools
import itertools
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.differentiation import rules, tapes
from keras_smooth.differentiation.tapes import sample_axes
from keras_smooth.jet import Jet


def propagate(
    model: Callable,
    x: tf.Tensor,
    directions: tf.Tensor,
    order: int,
    collapsed: bool = False,
):
    """Sends straight lines through a model: x + t v for each direction v.

    Args:
        model: Layer, model or function.
        x: Points of shape `(batch, ...)`.
        directions: Shape `(directions, batch or 1, ...)`.
        order: Number of derivatives, 1 or more.
        collapsed: Whether the last derivative is summed over the directions.

    Returns:
        The jet of the model's output, or a structure of jets.
    """
    # Jets know the derivatives of pieces, such as 0 for those of hard_tanh; both engines
    # are to refuse the same models.
    if isinstance(model, keras.layers.Layer):
        tapes.refuse_lost(model, x, order)
    jet = Jet(x, [directions, *[None] * (order - 1)], collapsed)

    def complete(leaf):
        if isinstance(leaf, Jet) and leaf.series[0] is not None:
            return leaf
        if not tapes.is_certain(model, order):
            raise ValueError(tapes.lost(model, order, "an output does not depend on x"))
        primal = leaf.primal if isinstance(leaf, Jet) else leaf
        return jet.like(primal, [_zeros(len(directions), primal), *jet.series[1:]])

    return keras.tree.map_structure(complete, rules.apply(model, jet))


def _zeros(directions: int, primal: tf.Tensor) -> tf.Tensor:
    return tf.zeros(tf.concat([[directions], tf.shape(primal)], axis=0), primal.dtype)


def derivatives(model: Callable, x: tf.Tensor, order: int) -> tuple:
    """Returns y, y', y'' and so on, of the shapes that `operators.derivatives` gives."""
    dim = math.prod(x.shape[1:])
    directions = lattice(dim, order).astype(x.dtype.as_numpy_dtype)
    y = propagate(model, x, _rays(directions, x), order)

    def partials(k):
        return keras.tree.map_structure(lambda jet: _partials(jet, x, dim, order, k), y)

    primal = keras.tree.map_structure(lambda jet: jet.primal, y)
    return primal, *(partials(k) for k in range(1, order + 1))


def with_laplacian(model: Callable, x: tf.Tensor) -> tuple:
    """Returns y, y' and the sum of the second derivatives, in one forward pass.

    The value, the d first derivatives and the sum of the second ones go through the
    model together: work and memory grow with d, not with d^2. Behind a first layer of
    fewer than d / 2 units they grow with their number.

    References:
        Li et al., 2024, "A computational framework for neural network-based variational
        Monte Carlo with forward Laplacian", Nature Machine Intelligence 6; Dangel et
        al., 2025, "Collapsing Taylor mode automatic differentiation".
    """
    y = _summed(model, x)
    primal = keras.tree.map_structure(lambda jet: jet.primal, y)
    slopes = keras.tree.map_structure(lambda jet: _gradients(jet, x), y)
    return primal, slopes, _single(y, 2)


def laplacian(model: Callable, x: tf.Tensor):
    """Returns the sum of the second derivatives alone."""
    return _single(_summed(model, x), 2)


def _summed(model: Callable, x: tf.Tensor):
    """Returns jets along all axes whose second entry is summed over them."""
    directions = np.eye(math.prod(x.shape[1:]), dtype=x.dtype.as_numpy_dtype)
    return propagate(model, x, _rays(directions, x), 2, collapsed=True)


def _gradients(jet: Jet, x: tf.Tensor) -> tf.Tensor:
    """Returns the first derivatives along all axes, which go behind those of y."""
    rows = tf.transpose(jet.entry(1), [*range(1, jet.primal.shape.rank + 1), 0])
    shape = [size or -1 for size in jet.shape]
    return tf.reshape(rows, [*shape, *sample_axes(x)])


def along(model: Callable, x: tf.Tensor, direction: tf.Tensor, order: int) -> tuple:
    """Returns y and its derivatives along one direction a sample."""
    y = propagate(model, x, direction[None], order)
    primal = keras.tree.map_structure(lambda jet: jet.primal, y)
    return primal, *(_single(y, k) for k in range(1, order + 1))


def _single(y, k: int):
    """Returns entry k of jets with one direction."""
    return keras.tree.map_structure(lambda jet: jet.entry(k)[0], y)


def _rays(directions: np.ndarray, x: tf.Tensor) -> tf.Tensor:
    """Returns directions that all samples share: `(directions, 1, ...)`."""
    return tf.reshape(tf.constant(directions), (len(directions), 1, *x.shape[1:]))


def _partials(jet: Jet, x: tf.Tensor, dim: int, order: int, k: int) -> tf.Tensor:
    """Returns all partial derivatives of order k, the axes of x behind those of y."""
    if dim == 1:
        return jet.entry(k)[0]
    table = tf.constant(_interpolation(dim, order, k), jet.dtype)
    unique = tf.tensordot(table, jet.entry(k), axes=1)
    full = tf.gather(unique, _places(dim, k), axis=0)
    full = tf.transpose(full, [*range(1, full.shape.rank), 0])
    shape = [size or -1 for size in jet.shape]
    return tf.reshape(full, [*shape, *sample_axes(x) * k])


@functools.cache
def multi_indices(dim: int, order: int) -> tuple[tuple[int, ...], ...]:
    """Returns the sets of axes of the partial derivatives of one order, sorted."""
    return tuple(itertools.combinations_with_replacement(range(dim), order))


def lattice(dim: int, order: int) -> np.ndarray:
    """Returns directions whose n-th derivatives determine all partial ones.

    Whole vectors with entries that sum to the order, divided by it; as many as there are
    partial derivatives of that order.

    References:
        Griewank, Utke and Walther, 2000, "Evaluating higher derivative tensors by
        forward propagation of univariate Taylor series", Mathematics of Computation 69.
    """
    rays = np.zeros((math.comb(dim + order - 1, order), dim))
    for ray, axes in zip(rays, multi_indices(dim, order)):
        np.add.at(ray, list(axes), 1.0)
    return rays / order


@functools.cache
def _interpolation(dim: int, order: int, k: int) -> np.ndarray:
    """Returns the matrix from derivatives of order k along the lattice to partial ones.

    Along v the derivative is the sum over sets of axes of the multinomial coefficient
    times the entries of v on those axes times the partial derivative.
    """
    rays, places = lattice(dim, order), multi_indices(dim, k)
    columns = [_orderings(axes) * np.prod(rays[:, list(axes)], axis=1) for axes in places]
    return np.linalg.pinv(np.stack(columns, axis=1))


def _orderings(axes: tuple[int, ...]) -> int:
    counts = (axes.count(axis) for axis in set(axes))
    return math.factorial(len(axes)) // math.prod(map(math.factorial, counts))


@functools.cache
def _places(dim: int, k: int) -> np.ndarray:
    """Returns for each ordered set of axes where its partial derivative is stored."""
    index = {axes: i for i, axes in enumerate(multi_indices(dim, k))}
    ordered = itertools.product(range(dim), repeat=k)
    return np.array([index[tuple(sorted(axes))] for axes in ordered], dtype=np.int32)
