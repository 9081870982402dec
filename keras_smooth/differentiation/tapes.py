"""The engine "tape": nested GradientTape, the reference for every derivative.

Each order is a step of reverse sweeps through the tapes of the order before: all partial
derivatives, chosen ones, or the slope along a direction.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.differentiation.lost import Ways
from keras_smooth.differentiation.multi_indices import MultiIndex
from keras_smooth.differentiation.passes import Form
from keras_smooth.differentiation.points import Points, sample_axes
from keras_smooth.differentiation.traces import Traces
from keras_smooth.jet.entries import total
from keras_smooth.operations.taped import nested_tapes


def _partials(ways: Ways, below: int, value: Any, x: Any, order: int) -> Callable:
    """A step: all partial derivatives, by sample, by reverse sweeps.

    Args:
        ways: From x to y.
        below: The order of what is differentiated.
        value: What is differentiated.
        x: By what.
        order: How many tapes there are, this one among them.
    """
    points = keras.tree.flatten(x)
    split = [(tensor, components(tensor)) for tensor in keras.tree.flatten(value)]

    def jacobian(tape: tf.GradientTape, place: int, number: int) -> tf.Tensor:
        (tensor, columns), point = split[place], points[number]
        # Where value is a derivative, its places count the inputs behind each output.
        output, inputs = place, [number]
        for _ in range(order - 1):
            output, earlier = divmod(output, len(points))
            inputs.append(earlier)
        rows = slopes(ways, tape, columns, point, below + order, output, inputs)
        shape = (-1, *tensor.shape[1:], *sample_axes(point))
        return tf.cast(tf.reshape(rows, shape), tensor.dtype)

    def differentiate(tape: tf.GradientTape) -> Any:
        numbers = range(len(points))
        jacobians = (
            [jacobian(tape, place, number) for number in numbers]
            for place in range(len(split))
        )
        by_input = [keras.tree.pack_sequence_as(x, each) for each in jacobians]
        return keras.tree.pack_sequence_as(value, by_input)

    return differentiate


@dataclasses.dataclass(frozen=True)
class Slopes:
    """A step: the derivative by a number t a sample, by two reverse sweeps.

    The first sweep is linear in its seed, so that the second gives a forward derivative, of
    all outputs at once. It leaves out a path whose gradient has itself no gradient.

    Args:
        ways: From t to y.
        order: The highest order.

    Raises:
        LookupError: If such a path cannot be excluded.

    Source: J. Townsend, 2017, "A new trick for calculating Jacobian vector products".
    """

    ways: Ways
    order: int

    def __call__(self, value: Any, t: tf.Tensor, order: int) -> Callable:
        def differentiate(tape: tf.GradientTape) -> Any:
            outputs = enumerate(keras.tree.flatten(value))
            flat = [self._slope(tape, *output, t, order) for output in outputs]
            return keras.tree.pack_sequence_as(value, flat)

        return differentiate

    def _slope(
        self, tape: tf.GradientTape, output: int, value: tf.Tensor, t: tf.Tensor, order: int
    ) -> tf.Tensor:
        if not value.dtype.is_floating:
            raise LookupError(f"the output is {value.dtype.name}")
        # The derivative is the same for any seed; a random one hides no path.
        seed = tf.random.stateless_normal(tf.shape(value), (0, 0), dtype=value.dtype)
        with tf.GradientTape() as inner:
            inner.watch(seed)
            total = gradient(tape, value, t, seed)
        row = gradient(inner, total, seed) if isinstance(total, tf.Tensor) else total
        if isinstance(row, Exception):
            raise row
        is_whole = row is not None and _is_whole(seed, total, row)
        # Each order needs two sweeps.
        if not (is_whole or self.ways.are_right(2 * self.order)):
            raise LookupError("a path has no second gradient")
        return self.ways.checked(row, order, value, output, ())


# By the bytes of a number: half of its digits.
_HALF_OF_DIGITS = {2: 0.1, 4: 3e-4, 8: 1e-8}


def _is_whole(seed: tf.Tensor, total: tf.Tensor, row: tf.Tensor) -> bool:
    """Returns whether no path is missing in the derivative of a gradient by its seed.

    Args:
        seed: Of the gradient, `(batch, ...)`.
        total: The gradient, `(batch,)`, linear in its seed.
        row: Its derivative by the seed, `(batch, ...)`.
    """
    if not tf.executing_eagerly():
        return False
    allowed = _HALF_OF_DIGITS[min(total.dtype.size, row.dtype.size)]
    # A model in float64 may get its inputs in float32, or the other way round.
    seed, total, row = (tf.cast(each, "float64") for each in (seed, total, row))
    terms = tf.reshape(seed * row, (tf.shape(total)[0], -1))
    size = tf.reduce_sum(tf.abs(terms), axis=1) + tf.abs(total)
    off = tf.abs(tf.reduce_sum(terms, axis=1) - total)
    # Values that are not finite do not agree.
    return bool(tf.reduce_all(off <= allowed * size))


def gradient(tape: tf.GradientTape, y: tf.Tensor, x: tf.Tensor, seed: Any = None) -> Any:
    """Returns a gradient, None if there is no path, or the error of TensorFlow."""
    try:
        row = tape.gradient(y, x, output_gradients=seed)
    except (LookupError, NotImplementedError) as error:
        return error
    # What is computed again for its gradient cannot be differentiated twice; of a layer
    # TensorFlow cannot even say so, since it has no __name__.
    except AttributeError:
        return NotImplementedError("recompute_grad gives one derivative alone")
    # The gradient of a gather has only the rows that are used.
    return tf.convert_to_tensor(row) if isinstance(row, tf.IndexedSlices) else row


def slopes(
    ways: Ways,
    tape: tf.GradientTape,
    columns: Sequence[tf.Tensor],
    x: tf.Tensor,
    order: int,
    output: int,
    inputs: Sequence[int],
) -> tf.Tensor:
    """Returns the derivatives of columns by one input, of shape `(batch, columns, ...)`.

    Args:
        ways: From the inputs to the outputs.
        tape: That has recorded the columns.
        columns: The components of an output, or of a derivative of it.
        x: The input.
        order: Of the derivatives.
        output: Place of the output.
        inputs: The places of all inputs by which it is derived.
    """
    rows = (gradient(tape, column, x) for column in columns)
    return tf.stack([ways.checked(row, order, x, output, inputs) for row in rows], axis=1)


def components(tensor: tf.Tensor) -> list[tf.Tensor]:
    """Splits (batch, ...) into tensors of shape (batch,).

    Samples are independent, so that the gradient of one such tensor, summed over the
    batch, holds one derivative a sample.
    """
    size = math.prod(tensor.shape[1:])
    # Not unstacked: a gradient of one of them would make zeros for all the others.
    rows = tf.reshape(tensor, (-1, size))
    return [rows[:, place] for place in range(size)]


def forms(traces: Traces, points: Points, *, wanted: Sequence[Form]) -> tuple:
    """Returns y and sums of partial derivatives."""
    indices = {index for form in wanted for index, _ in form}
    function, ways = _function(traces, points), Ways(traces, points)
    known = chosen(function, points.moving, indices, ways)
    return known[()], *(_form(form, known) for form in wanted)


def chosen(
    function: Callable, x: list[tf.Tensor], indices: Iterable[MultiIndex], ways: Ways
) -> dict:
    """Returns the value of a function and chosen partial derivatives, by their multi-indices.

    Args:
        function: Of x, a list of tensors.
        x: Where.
        indices: Of the numbers of all samples of x together.
        ways: From x to the outputs.
    """
    levels = _levels(indices)
    dims = [math.prod(each.shape[1:]) for each in x]
    step = functools.partial(_chosen_step, levels, dims, ways)
    entries = nested_tapes(lambda x: [function(x)], x, len(levels) - 1, step)
    return {
        index: value
        for level, values in zip(levels, entries)
        for index, value in zip(level, values, strict=True)
    }


def num_sweeps(wanted: Sequence[Form]) -> list[int]:
    """Returns for each order the number of reverse sweeps."""
    levels = _levels({index for form in wanted for index, _ in form})
    return [
        len({_parent(index, lower)[0] for index in level})
        for lower, level in pairwise(levels)
    ]


def _form(form: Form, known: dict) -> Any:
    def summed(*tensors: Any) -> Any:
        return total(
            tensor if factor == 1.0 else tensor * tf.constant(factor, tensor.dtype)
            for tensor, (_, factor) in zip(tensors, form)
        )

    return keras.tree.map_structure(summed, *(known[index] for index, _ in form))


def _levels(indices: Iterable[MultiIndex]) -> list[list[MultiIndex]]:
    """Returns the derivatives to compute by their order, each from one of the order before.

    A sweep back gives all derivatives of one of the order before, so that as few of these as
    can be are used: such as are wanted themselves, then those that serve most.
    """
    by_order: list[set[MultiIndex]] = [{()}]
    for index in indices:
        by_order += [set() for _ in range(len(by_order), len(index) + 1)]
        by_order[len(index)].add(index)
    for level, lower in zip(by_order[:1:-1], by_order[-2:0:-1]):
        serves = collections.Counter(each for index in level for each in _parents(index))
        for index in sorted(level):
            parents = _parents(index)
            if lower.isdisjoint(parents):
                lower.add(max(parents, key=lambda each: (serves[each], each)))
    return [sorted(level) for level in by_order]


def _parents(index: MultiIndex) -> dict[MultiIndex, int]:
    """Returns all derivatives with one axis less, and which axis that is."""
    places = range(len(index))
    return dict(sorted((index[:i] + index[i + 1 :], index[i]) for i in places))


def _parent(index: MultiIndex, lower: list[MultiIndex]) -> tuple[MultiIndex, int]:
    """Returns the derivative of the previous order from which one is computed, and by what."""
    return next(pair for pair in _parents(index).items() if pair[0] in lower)


def _chosen_step(
    levels: list[list[MultiIndex]],
    dims: list[int],
    ways: Ways,
    values: list,
    x: list[tf.Tensor],
    order: int,
) -> Callable:
    """A step of `nested_tapes`: from the chosen derivatives of one order those of the next.

    Args:
        levels: The derivatives of each order.
        dims: How many numbers a sample of each input has.
        ways: From the inputs to the outputs.
        values: The derivatives of the order before.
        x: The inputs.
        order: That of the next.
    """
    below, level = levels[order - 1], levels[order]
    outputs = dict(zip(below, values, strict=True))
    split = {
        index: list(map(components, keras.tree.flatten(value)))
        for index, value in outputs.items()
    }
    places = [(n, place) for n, dim in enumerate(dims) for place in range(dim)]

    def differentiate(tape: tf.GradientTape) -> list:
        @functools.cache
        def rows(parent: MultiIndex, output: int, number: int) -> tf.Tensor:
            """Returns the derivatives of an output by one input, `(batch, m, d)`."""
            columns = split[parent][output]
            inputs = [number, *(places[axis][0] for axis in parent)]
            rows = slopes(ways, tape, columns, x[number], order, output, inputs)
            return tf.reshape(rows, (-1, len(columns), dims[number]))

        def derivative(index: MultiIndex) -> Any:
            parent, axis = _parent(index, below)
            number, place = places[axis]

            def column(output: int, y: tf.Tensor) -> tf.Tensor:
                slope = rows(parent, output, number)[..., place]
                return tf.cast(tf.reshape(slope, (-1, *y.shape[1:])), y.dtype)

            leaves = enumerate(keras.tree.flatten(outputs[parent]))
            flat = [column(*each) for each in leaves]
            return keras.tree.pack_sequence_as(outputs[parent], flat)

        return list(map(derivative, level))

    return differentiate


def derivatives(traces: Traces, points: Points, *, order: int) -> tuple:
    """Returns y and all its partial derivatives up to an order, for each sample."""
    start = points.structured(points.moving)
    step = functools.partial(_partials, Ways(traces, points), 0)
    return tuple(nested_tapes(_function(traces, points), start, order, step))


def along(traces: Traces, points: Points, *directions: tf.Tensor, order: int) -> tuple:
    """Returns y and its derivatives along one direction for each sample.

    Args:
        traces: Of the model.
        points: Where.
        directions: For each moving input, a tensor of its shape.
        order: Number of derivatives.
    """

    def curve(t: tf.Tensor) -> Any:
        moved = [
            x + v * tf.reshape(t, (-1, *[1] * (x.shape.rank - 1)))
            for x, v in zip(points.moving, directions, strict=True)
        ]
        return traces.called(points.whole(moved))

    t = tf.zeros(tf.shape(points.moving[0])[:1], points.dtype)
    ways = Ways(traces, points, together=True)
    try:
        return tuple(nested_tapes(curve, t, order, Slopes(ways, order)))
    # A layer with recomputed gradients allows one sweep only.
    except (LookupError, NotImplementedError, AttributeError):
        indices = [(0,) * k for k in range(order + 1)]
        known = chosen(lambda x: curve(*x), [t], indices, ways)
        return tuple(known[index] for index in indices)


def along_each(traces: Traces, points: Points, *, vectors: tf.Tensor, order: int) -> tuple:
    """Returns y and its derivative of one order along each of several shared directions."""
    results = []
    for direction in tf.unstack(tf.cast(vectors, points.dtype)):
        pairs = zip(tf.split(direction, points.dims), points.moving, strict=True)
        whole = [tf.broadcast_to(tf.reshape(v, x.shape[1:]), tf.shape(x)) for v, x in pairs]
        results.append(along(traces, points, *whole, order=order))
    return results[0][0], *(entries[order] for entries in results)


def hessian_vector_product(traces: Traces, points: Points, *directions: tf.Tensor) -> tuple:
    """Returns y and the derivatives of its slope along one direction by all inputs."""
    ways, outputs = Ways(traces, points), []
    step = functools.partial(_partials, ways, 0)

    def contracted(tensor: tf.Tensor, slopes: Any) -> tf.Tensor:
        pairs = zip(keras.tree.flatten(slopes), directions, strict=True)
        return tf.add_n([_contracted(tensor, *pair) for pair in pairs])

    def slope(moving: Any) -> Any:
        y, slopes = nested_tapes(_function(traces, points), moving, 1, step)
        outputs.append(y)
        return keras.tree.map_structure_up_to(y, contracted, y, slopes)

    start = points.structured(points.moving)
    _, products = nested_tapes(slope, start, 1, functools.partial(_partials, ways, 1))
    return outputs[0], products


def _function(traces: Traces, points: Points) -> Callable:
    """Returns a model as a function of the inputs that move."""
    return lambda moving: traces.called(points.whole(keras.tree.flatten(moving)))


def _contracted(tensor: tf.Tensor, slope: tf.Tensor, direction: tf.Tensor) -> tf.Tensor:
    """Returns the sum over the numbers of an input of slopes times a direction."""
    dim = math.prod(direction.shape[1:])
    rows = tf.reshape(slope, (-1, math.prod(tensor.shape[1:]), dim))
    product = tf.linalg.matvec(rows, tf.cast(tf.reshape(direction, (-1, dim)), slope.dtype))
    return tf.reshape(product, (-1, *tensor.shape[1:]))
