"""The engine "jet": derivatives of a model from jets along directions (Taylor mode)."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.differentiation.lost import LostError, lost_message
from keras_smooth.differentiation.multi_indices import of_order
from keras_smooth.differentiation.passes import Form, Passes, Term, all_partials, passes_for
from keras_smooth.differentiation.points import Points, sample_axes
from keras_smooth.differentiation.traces import Traces
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import full_entry
from keras_smooth.jet.direction_basis import sizes_from
from keras_smooth.jet.entries import total


def propagate(
    traces: Traces,
    points: Points,
    directions: list[tf.Tensor],
    order: int,
    sums: np.ndarray | None = None,
) -> Any:
    """Returns the jets of a model along the lines x + t v, for each direction v.

    Args:
        traces: The traces of the model.
        points: The points x where the lines begin.
        directions: For each moving input a tensor `(directions, batch or 1, ...)`.
        order: Number of derivatives, 1 or more.
        sums: Array `(sums, directions)` of weights. The highest derivatives are carried as
            these sums over directions; None carries them along each direction.

    Returns:
        The jet of the model's output, or a structure of jets.

    Raises:
        NotTraceableError: If the model cannot be traced.
        ValueError: If a derivative is lost.
    """
    # A collapsed jet without weights is the plain sum over all directions.
    needs_no_weights = sums is None or (len(sums) == 1 and bool((sums == 1.0).all()))
    options: dict[str, Any] = {
        "collapsed": sums is not None,
        "weights": None if needs_no_weights else sums,
    }
    outputs = traces.propagated(points, directions, order, **options)
    reached = traces.apply_to_program(operations.dependent_outputs, points)

    def complete(leaf: Any, reaches: bool) -> Any:
        if isinstance(leaf, Jet) and leaf.dtype.is_floating:
            return leaf
        if reaches or not leaf.dtype.is_floating:
            cause = "its output is rounded or counted on the way from x"
            raise LostError(lost_message(traces.model, 1, cause))
        # No path leads from x to this output, so its derivatives are 0.
        zeros = full_entry(leaf, None, directions[0].shape[0])
        return Jet(leaf, [zeros, *[None] * (order - 1)], **options)

    return traces.at(points).packed(list(map(complete, outputs, reached)))


def derivatives(propagate: Callable, points: Points, *, order: int) -> tuple:
    """Returns y, y', y'' and so on, in the shapes that `operators.derivatives` returns.

    Args:
        propagate: A function that returns the jets of the model along lines.
        points: The points.
        order: Number of derivatives.
    """
    plan = all_partials(sum(points.dims), order)
    # The directions of the highest order also determine all lower orders.
    (lines,) = plan.passes
    y = propagate(points, _rays(lines.directions, points), order, sums=lines.sums)

    def partials(k: int) -> Any:
        return keras.tree.map_structure(
            lambda jet: _split_by_input(_partials(jet, plan, k), jet, points, k), y
        )

    return _primal(y), *(partials(k) for k in range(1, order + 1))


def forms(propagate: Callable, points: Points, *, wanted: tuple[Form, ...]) -> tuple:
    """Returns y and the values of forms, which are sums of partial derivatives."""
    passes = passes_for(sum(points.dims), wanted)
    jets = [
        propagate(points, _rays(each.directions, points), each.order, sums=each.sums)
        for each in passes.passes
    ]
    outputs = zip(*map(keras.tree.flatten, jets), strict=True)
    columns = [_forms_of_output(leaves, passes) for leaves in outputs]
    values = (keras.tree.pack_sequence_as(jets[0], list(row)) for row in zip(*columns))
    return _primal(jets[0]), *values


def _forms_of_output(leaves: tuple[Jet, ...], passes: Passes) -> list[tf.Tensor]:
    """Returns all forms of one output from its jets, one for each pass."""

    @functools.cache
    def entry(number: int, order: int) -> tf.Tensor:
        jet = leaves[number]
        return jet.entry(order) if order else jet.primal[None]

    def value(term: Term) -> tf.Tensor:
        row = entry(term.number, term.order)[term.row]
        return row if term.factor == 1.0 else row * tf.constant(term.factor, row.dtype)

    return [total(map(value, terms)) for terms in passes.terms]


def along(propagate: Callable, points: Points, *directions: tf.Tensor, order: int) -> tuple:
    """Returns y and its derivatives along one direction for each sample."""
    y = propagate(points, [v[None] for v in directions], order)
    return _primal(y), *(_entry_row(y, k, 0) for k in range(1, order + 1))


def along_each(
    propagate: Callable, points: Points, *, vectors: tf.Tensor, order: int
) -> tuple:
    """Returns y and its derivative of one order along each of several shared directions."""
    y = propagate(points, _rays(vectors, points), order)
    return _primal(y), *(_entry_row(y, order, row) for row in range(vectors.shape[0]))


def hessian_vector_product(
    propagate: Callable, points: Points, *directions: tf.Tensor
) -> tuple:
    """Returns y and the Hessian times one direction for each sample.

    The derivative along an axis e and along v is a quarter of the difference of the second
    derivatives along e + v and e - v.
    """
    dim = sum(points.dims)
    axes = _rays(np.concatenate([np.eye(dim), np.eye(dim)]), points)
    signs = np.repeat([1.0, -1.0], dim)
    rays = [
        axis + v[None] * tf.reshape(tf.constant(signs, v.dtype), (-1, *[1] * v.shape.rank))
        for axis, v in zip(axes, directions, strict=True)
    ]
    quarters = np.concatenate([np.eye(dim), -np.eye(dim)], axis=1) / 4
    y = propagate(points, rays, 2, sums=quarters)
    products = keras.tree.map_structure(
        lambda jet: _split_by_input(jet.entry(2), jet, points, 1), y
    )
    return _primal(y), products


def _primal(y: Any) -> Any:
    return keras.tree.map_structure(lambda jet: jet.primal, y)


def _entry_row(y: Any, order: int, row: int) -> Any:
    return keras.tree.map_structure(lambda jet: jet.entry(order)[row], y)


def _rays(directions: np.ndarray | tf.Tensor, points: Points) -> list[tf.Tensor]:
    """Returns directions that all samples share, split by the moving inputs."""
    directions_by_input = tf.split(tf.cast(directions, points.dtype), points.dims, axis=1)
    return [
        tf.reshape(vectors, (vectors.shape[0], 1, *x.shape[1:]))
        for vectors, x in zip(directions_by_input, points.moving, strict=True)
    ]


def _partials(jet: Jet, plan: Passes, k: int) -> tf.Tensor:
    """Returns all partial derivatives of order k, of shape `(d^k, batch, ...)`."""
    dim = plan.passes[0].directions.shape[1]
    if dim == 1:
        return jet.entry(k)
    unique = tf.tensordot(tf.constant(plan.table(k), jet.dtype), jet.entry(k), axes=1)
    return tf.gather(unique, _indices_of_partials(dim, k), axis=0)


def _split_by_input(full: tf.Tensor, jet: Jet, points: Points, k: int) -> Any:
    """Returns partial derivatives for each input, with the axes of the inputs after those of y.

    Args:
        full: Tensor of shape `(d^k, batch, ...)` for d numbers in all moving inputs together.
        jet: The jet of y.
        points: The inputs.
        k: Order of the derivatives.
    """
    dims, rank = points.dims, jet.primal.shape.rank
    shape = sizes_from(jet.primal, 0)
    axes = [sample_axes(x) for x in points.moving]
    if sum(dims) > 1:
        full = tf.reshape(full, [*[sum(dims)] * k, *tf.unstack(tf.shape(jet.primal))])
        full = tf.transpose(full, [*range(k, k + rank), *range(k)])

    def blocks(tensor: tf.Tensor, level: int, behind: Sequence[int]) -> Any:
        if level == k:
            return tf.reshape(tensor, [*shape, *behind])
        by_input = [tensor] if len(dims) == 1 else tf.split(tensor, dims, axis=rank + level)
        return points.structured(
            [blocks(block, level + 1, (*behind, *ax)) for block, ax in zip(by_input, axes)]
        )

    return blocks(full, 0, ())


@functools.cache
def _indices_of_partials(dim: int, k: int) -> np.ndarray:
    """Returns the index of the partial derivative of each ordered tuple of k axes."""
    index = {axes: i for i, axes in enumerate(of_order(dim, k))}
    ordered = itertools.product(range(dim), repeat=k)
    return np.array([index[tuple(sorted(axes))] for axes in ordered], dtype=np.int32)
