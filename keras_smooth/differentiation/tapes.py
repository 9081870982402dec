"""The engine "tape": nested GradientTape, the reference for every derivative.

A step of reverse sweeps through the tape of one order computes the next one. There are three
kinds of steps: for all partial derivatives, for chosen ones, and along a direction.
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

from keras_smooth.differentiation.lost import Paths
from keras_smooth.differentiation.multi_indices import MultiIndex
from keras_smooth.differentiation.passes import Form
from keras_smooth.differentiation.points import Points, sample_axes
from keras_smooth.differentiation.traces import Traces
from keras_smooth.jet.entries import total
from keras_smooth.models.checked_inputs import first_line
from keras_smooth.operations.taped import nested_tapes


def _partials_step(paths: Paths, below: int, value: Any, x: Any, order: int) -> Callable:
    """A step of `nested_tapes` to all partial derivatives of each sample, by reverse sweeps.

    Args:
        paths: The paths from x to y.
        below: The order of the function that is differentiated, itself a derivative if above 0.
        value: The outputs, or their derivatives of the order below.
        x: The inputs by which they are differentiated.
        order: The number of tapes, with that of this step.
    """
    points = keras.tree.flatten(x)
    split = [(tensor, components(tensor)) for tensor in keras.tree.flatten(value)]

    def jacobian(tape: tf.GradientTape, place: int, number: int) -> tf.Tensor:
        (tensor, columns), point = split[place], points[number]
        # The tensors of a derivative are counted by output and, within it, by input.
        output, inputs = place, [number]
        for _ in range(order - 1):
            output, earlier = divmod(output, len(points))
            inputs.append(earlier)
        rows = column_gradients(paths, tape, columns, point, below + order, output, inputs)
        # Without entries, -1 would be any number of samples.
        num_samples = rows.shape[0] or tf.shape(rows)[0]
        shape = (num_samples, *tensor.shape[1:], *sample_axes(point))
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
class AlongLine:
    """A step to the derivative by one number t for each sample, by two reverse sweeps.

    The first sweep is linear in its seed. So the second sweep, by the seed, is a forward
    derivative of all outputs at once. It leaves out a path whose gradient has no gradient.

    Args:
        paths: The paths from t to y.
        order: The highest order.

    Raises:
        LookupError: If there may be such a path.

    Source: J. Townsend, 2017, "A new trick for calculating Jacobian vector products".
    """

    paths: Paths
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
        is_complete = row is not None and _is_complete(seed, total, row)
        # Each order needs two sweeps.
        if not (is_complete or self.paths.are_right(2 * self.order)):
            raise LookupError("a path has no second gradient")
        return self.paths.checked(row, order, value, output, ())


# Half of the digits of a number, by its size in bytes.
_HALF_OF_DIGITS = {2: 0.1, 4: 3e-4, 8: 1e-8}


def _is_complete(seed: tf.Tensor, total: tf.Tensor, row: tf.Tensor) -> bool:
    """Returns whether no path is missing in the derivative of a gradient by its seed.

    The gradient is linear in its seed. So it must equal the sum of the seed times this derivative.

    Args:
        seed: The seed of the gradient, `(batch, ...)`.
        total: The gradient, `(batch,)`.
        row: Its derivative by the seed, `(batch, ...)`.
    """
    if not tf.executing_eagerly():
        return False
    allowed = _HALF_OF_DIGITS[min(total.dtype.size, row.dtype.size)]
    # The inputs and the outputs of a model may have different dtypes.
    seed, total, row = (tf.cast(each, "float64") for each in (seed, total, row))
    terms = tf.reshape(seed * row, (tf.shape(total)[0], -1))
    size = tf.reduce_sum(tf.abs(terms), axis=1) + tf.abs(total)
    difference = tf.abs(tf.reduce_sum(terms, axis=1) - total)
    # False for values that are not finite.
    return bool(tf.reduce_all(difference <= allowed * size))


def gradient(tape: tf.GradientTape, y: tf.Tensor, x: tf.Tensor, seed: Any = None) -> Any:
    """Returns a gradient, None if there is no path, or the error that TensorFlow raises."""
    try:
        row = tape.gradient(y, x, output_gradients=seed)
    except (LookupError, NotImplementedError) as error:
        return error
    # A function in tf.recompute_grad cannot be differentiated twice. For a layer, TensorFlow's
    # own message of that fails, since a layer has no __name__.
    except AttributeError:
        return NotImplementedError("recompute_grad gives one derivative alone")
    # A gradient may fail at the points, as that of a determinant does for singular matrices.
    except tf.errors.InvalidArgumentError as error:
        return LookupError(f"its gradient fails at the points ({first_line(error)})")
    # The gradient of a gather has only the rows that are used.
    return tf.convert_to_tensor(row) if isinstance(row, tf.IndexedSlices) else row


def column_gradients(
    paths: Paths,
    tape: tf.GradientTape,
    columns: Sequence[tf.Tensor],
    x: tf.Tensor,
    order: int,
    output: int,
    inputs: Sequence[int],
) -> tf.Tensor:
    """Returns the derivatives of columns by one input, of shape `(batch, columns, ...)`.

    Args:
        paths: The paths from the inputs to the outputs.
        tape: A tape that has recorded the columns.
        columns: The components of an output, or of a derivative of it.
        x: The input.
        order: The order of the derivatives.
        output: The place of the output.
        inputs: The places of all inputs by which it is differentiated.
    """
    rows = (gradient(tape, column, x) for column in columns)
    if not columns:
        # An output without numbers has a derivative without numbers.
        return tf.zeros_like(x)[:, None][:, :0]
    return tf.stack([paths.checked(row, order, x, output, inputs) for row in rows], axis=1)


def components(tensor: tf.Tensor) -> list[tf.Tensor]:
    """Splits a tensor of shape `(batch, ...)` into tensors of shape `(batch,)`.

    Samples are independent, so the gradient of the sum of such a tensor over the batch has the
    derivative of each sample.
    """
    size = math.prod(tensor.shape[1:])
    # Not by `tf.unstack`: a gradient of one component would make zeros for all the others.
    rows = tf.reshape(tensor, (-1, size))
    return [rows[:, place] for place in range(size)]


def forms(traces: Traces, points: Points, *, wanted: Sequence[Form]) -> tuple:
    """Returns y and sums of partial derivatives."""
    indices = {index for form in wanted for index, _ in form}
    function, paths = _function_of_moving_inputs(traces, points), Paths(traces, points)
    partials = chosen_partials(function, points.moving, indices, paths)
    return partials[()], *(_sum_of_partials(form, partials) for form in wanted)


def chosen_partials(
    function: Callable, x: list[tf.Tensor], indices: Iterable[MultiIndex], paths: Paths
) -> dict:
    """Returns the value of a function and chosen partial derivatives, by their multi-indices.

    Args:
        function: A function of x.
        x: A list of tensors.
        indices: Multi-indices, which count the numbers of a sample of all tensors.
        paths: The paths from x to the outputs.
    """
    levels = _levels(indices)
    dims = [math.prod(each.shape[1:]) for each in x]
    step = functools.partial(_chosen_partials_step, levels, dims, paths)
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


def _sum_of_partials(form: Form, partials: dict) -> Any:
    def summed(*tensors: Any) -> Any:
        return total(
            tensor if factor == 1.0 else tensor * tf.constant(factor, tensor.dtype)
            for tensor, (_, factor) in zip(tensors, form)
        )

    return keras.tree.map_structure(summed, *(partials[index] for index, _ in form))


def _levels(indices: Iterable[MultiIndex]) -> list[list[MultiIndex]]:
    """Returns the derivatives to compute for each order, each from a parent of the order before.

    One reverse sweep computes all derivatives of a parent. So there are few parents: those that
    are requested themselves, then those of the most derivatives.
    """
    by_order: list[set[MultiIndex]] = [{()}]
    for index in indices:
        by_order += [set() for _ in range(len(by_order), len(index) + 1)]
        by_order[len(index)].add(index)
    for level, lower in zip(by_order[:1:-1], by_order[-2:0:-1]):
        num_children = collections.Counter(
            each for index in level for each in _parents(index)
        )
        for index in sorted(level):
            parents = _parents(index)
            if lower.isdisjoint(parents):
                lower.add(max(parents, key=lambda each: (num_children[each], each)))
    return [sorted(level) for level in by_order]


def _parents(index: MultiIndex) -> dict[MultiIndex, int]:
    """Returns all derivatives with one axis less, each with that axis."""
    places = range(len(index))
    return dict(sorted((index[:i] + index[i + 1 :], index[i]) for i in places))


def _parent(index: MultiIndex, lower: list[MultiIndex]) -> tuple[MultiIndex, int]:
    """Returns the parent in `lower` from which a derivative is computed, and the axis."""
    return next(pair for pair in _parents(index).items() if pair[0] in lower)


def _chosen_partials_step(
    levels: list[list[MultiIndex]],
    dims: list[int],
    paths: Paths,
    values: list,
    x: list[tf.Tensor],
    order: int,
) -> Callable:
    """A step of `nested_tapes` from the chosen partial derivatives of one order to the next.

    Args:
        levels: The derivatives of each order.
        dims: Number of numbers in a sample of each input.
        paths: The paths from the inputs to the outputs.
        values: The derivatives of the order below.
        x: The inputs.
        order: The order of the derivatives of this step.
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
        def jacobian(parent: MultiIndex, output: int, number: int) -> tf.Tensor:
            """Returns the derivatives of one output by one input, `(batch, m, d)`."""
            columns = split[parent][output]
            inputs = [number, *(places[axis][0] for axis in parent)]
            rows = column_gradients(paths, tape, columns, x[number], order, output, inputs)
            return tf.reshape(rows, (-1, len(columns), dims[number]))

        def derivative(index: MultiIndex) -> Any:
            parent, axis = _parent(index, below)
            number, place = places[axis]

            def column(output: int, y: tf.Tensor) -> tf.Tensor:
                slope = jacobian(parent, output, number)[..., place]
                return tf.cast(tf.reshape(slope, (-1, *y.shape[1:])), y.dtype)

            leaves = enumerate(keras.tree.flatten(outputs[parent]))
            flat = [column(*each) for each in leaves]
            return keras.tree.pack_sequence_as(outputs[parent], flat)

        return list(map(derivative, level))

    return differentiate


def derivatives(traces: Traces, points: Points, *, order: int) -> tuple:
    """Returns y and all its partial derivatives up to an order, for each sample."""
    start = points.structured(points.moving)
    step = functools.partial(_partials_step, Paths(traces, points), 0)
    function = _function_of_moving_inputs(traces, points)
    return tuple(nested_tapes(function, start, order, step))


def along(traces: Traces, points: Points, *directions: tf.Tensor, order: int) -> tuple:
    """Returns y and its derivatives along one direction for each sample.

    Args:
        traces: The traces of the model.
        points: The points.
        directions: For each moving input, a tensor of its shape.
        order: Number of derivatives.
    """

    def curve(t: tf.Tensor) -> Any:
        moved = [
            x + v * tf.reshape(t, (-1, *[1] * (x.shape.rank - 1)))
            for x, v in zip(points.moving, directions, strict=True)
        ]
        return traces.call(points.x_with(moved))

    t = tf.zeros(tf.shape(points.moving[0])[:1], points.dtype)
    paths = Paths(traces, points, together=True)
    try:
        return tuple(nested_tapes(curve, t, order, AlongLine(paths, order)))
    # A layer in tf.recompute_grad allows one sweep only.
    except (LookupError, NotImplementedError, AttributeError):
        indices = [(0,) * k for k in range(order + 1)]
        slopes = chosen_partials(lambda x: curve(*x), [t], indices, paths)
        return tuple(slopes[index] for index in indices)


def along_each(traces: Traces, points: Points, *, vectors: tf.Tensor, order: int) -> tuple:
    """Returns y and its derivative of one order along each of several shared directions."""
    results = []
    for direction in tf.unstack(tf.cast(vectors, points.dtype)):
        pairs = zip(tf.split(direction, points.dims), points.moving, strict=True)
        by_input = [
            tf.broadcast_to(tf.reshape(v, x.shape[1:]), tf.shape(x)) for v, x in pairs
        ]
        results.append(along(traces, points, *by_input, order=order))
    return results[0][0], *(entries[order] for entries in results)


def hessian_vector_product(traces: Traces, points: Points, *directions: tf.Tensor) -> tuple:
    """Returns y and the derivatives of its slope along one direction by all inputs."""
    paths, outputs = Paths(traces, points), []
    function = _function_of_moving_inputs(traces, points)
    step = functools.partial(_partials_step, paths, 0)

    def contracted(tensor: tf.Tensor, slopes: Any) -> tf.Tensor:
        pairs = zip(keras.tree.flatten(slopes), directions, strict=True)
        return tf.add_n([_contracted(tensor, *pair) for pair in pairs])

    def slope(moving: Any) -> Any:
        y, slopes = nested_tapes(function, moving, 1, step)
        outputs.append(y)
        return keras.tree.map_structure_up_to(y, contracted, y, slopes)

    start = points.structured(points.moving)
    _, products = nested_tapes(slope, start, 1, functools.partial(_partials_step, paths, 1))
    return outputs[0], products


def _function_of_moving_inputs(traces: Traces, points: Points) -> Callable:
    """Returns the model as a function of its moving inputs."""
    return lambda moving: traces.call(points.x_with(keras.tree.flatten(moving)))


def _contracted(tensor: tf.Tensor, slope: tf.Tensor, direction: tf.Tensor) -> tf.Tensor:
    """Returns the product of the derivatives by one input with a direction, in y's shape."""
    dim = math.prod(direction.shape[1:])
    rows = tf.reshape(slope, (-1, math.prod(tensor.shape[1:]), dim))
    product = tf.linalg.matvec(rows, tf.cast(tf.reshape(direction, (-1, dim)), slope.dtype))
    return tf.reshape(product, (-1, *tensor.shape[1:]))
