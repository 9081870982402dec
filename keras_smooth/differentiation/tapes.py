"""The engine "tape": nested GradientTape, the reference for every derivative.

A step computes the derivatives of one order from those of the order below by reverse sweeps.
There are three kinds: for all partial derivatives, for chosen ones, and along a direction.
"""

import collections
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
        paths: The paths from x to y, which distinguish zero from lost derivatives.
        below: The order of the function that is differentiated: 0 for y itself.
        value: The values of the function, or its derivatives of the order below.
        x: The inputs with respect to which it is differentiated.
        order: The order of this step, which is the number of tapes.
    """
    points = keras.tree.flatten(x)
    split = [(tensor, components(tensor)) for tensor in keras.tree.flatten(value)]

    def jacobian(tape: tf.GradientTape, i: int, j: int) -> tf.Tensor:
        (tensor, columns), point = split[i], points[j]
        # The tensors of a derivative are ordered by output, then by the input of each order.
        output, inputs = i, [j]
        for _ in range(order - 1):
            output, earlier = divmod(output, len(points))
            inputs.append(earlier)
        rows = column_gradients(paths, tape, columns, point, below + order, output, inputs)
        # For an empty tensor, the size -1 is ambiguous.
        num_samples = rows.shape[0] or tf.shape(rows)[0]
        shape = (num_samples, *tensor.shape[1:], *sample_axes(point))
        return tf.cast(tf.reshape(rows, shape), tensor.dtype)

    def differentiate(tape: tf.GradientTape) -> Any:
        indices = range(len(points))
        jacobians = ([jacobian(tape, i, j) for j in indices] for i in range(len(split)))
        by_input = [keras.tree.pack_sequence_as(x, row) for row in jacobians]
        return keras.tree.pack_sequence_as(value, by_input)

    return differentiate


def line_step(paths: Paths, highest: int, value: Any, t: tf.Tensor, order: int) -> Callable:
    """A step to the derivative with respect to one number t for each sample, by two sweeps.

    A gradient is linear in its seed, `output_gradients`. A second sweep, with respect to the
    seed, returns all derivatives at once, without paths that have no second gradient.

    Args:
        paths: The paths from t to y.
        highest: The highest order.
        value: The derivatives of the order below.
        t: The numbers, of shape `(batch,)`.
        order: The order of this step.

    Raises:
        LookupError: If there may be such a path.

    Source: J. Townsend, 2017, "A new trick for calculating Jacobian vector products".
    """

    def slope(tape: tf.GradientTape, output: int, y: tf.Tensor) -> tf.Tensor:
        if not y.dtype.is_floating:
            raise LookupError(f"the output is {y.dtype.name}")
        # The derivative is the same for any seed. A random one hides no path in `_is_complete`.
        seed = tf.random.stateless_normal(tf.shape(y), (0, 0), dtype=y.dtype)
        with tf.GradientTape() as inner:
            inner.watch(seed)
            total = gradient(tape, y, t, seed)
        row = gradient(inner, total, seed) if isinstance(total, tf.Tensor) else total
        if isinstance(row, Exception):
            raise row
        is_complete = row is not None and _is_complete(seed, total, row)
        # Each order needs two sweeps.
        if not (is_complete or paths.are_right(2 * highest)):
            raise LookupError("a path has no second gradient")
        return paths.checked(row, order, y, output, ())

    def differentiate(tape: tf.GradientTape) -> Any:
        flat = [slope(tape, *leaf) for leaf in enumerate(keras.tree.flatten(value))]
        return keras.tree.pack_sequence_as(value, flat)

    return differentiate


# Half of the digits of a number, by its size in bytes.
_HALF_OF_DIGITS = {2: 0.1, 4: 3e-4, 8: 1e-8}


def _is_complete(seed: tf.Tensor, total: tf.Tensor, row: tf.Tensor) -> bool:
    """Returns whether the derivative of a gradient with respect to its seed has all paths.

    The gradient is linear in its seed, so it is the sum of the seed times this derivative.

    Args:
        seed: The seed of the gradient, `(batch, ...)`.
        total: The gradient, `(batch,)`.
        row: Its derivative with respect to the seed, `(batch, ...)`.
    """
    if not tf.executing_eagerly():
        return False
    allowed = _HALF_OF_DIGITS[min(total.dtype.size, row.dtype.size)]
    # The inputs and the outputs of a model may have different dtypes.
    seed, total, row = (tf.cast(tensor, "float64") for tensor in (seed, total, row))
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
    # A function in tf.recompute_grad cannot be differentiated twice. For a layer, TensorFlow
    # fails to build its message about this, since a layer has no __name__.
    except AttributeError:
        return NotImplementedError("recompute_grad gives one derivative alone")
    # A gradient may fail at the points, as that of a determinant does for singular matrices.
    except tf.errors.InvalidArgumentError as error:
        return LookupError(f"its gradient fails at the points ({first_line(error)})")
    # The gradient of a gather is sparse.
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
    """Returns the derivatives of columns with respect to one input, `(batch, columns, ...)`.

    Args:
        paths: The paths from the inputs to the outputs.
        tape: A tape that has recorded the columns.
        columns: The components of an output, or of a derivative of it.
        x: The input.
        order: The order of the derivatives.
        output: The index of the output.
        inputs: The indices of all inputs with respect to which it is differentiated.
    """
    rows = (gradient(tape, column, x) for column in columns)
    if not columns:
        # The derivative of an empty output is empty.
        return tf.zeros_like(x)[:, None][:, :0]
    return tf.stack([paths.checked(row, order, x, output, inputs) for row in rows], axis=1)


def components(tensor: tf.Tensor) -> list[tf.Tensor]:
    """Splits a tensor of shape `(batch, ...)` into tensors of shape `(batch,)`.

    Samples are independent, so the gradient of the sum of such a tensor over the batch has the
    derivative of each sample.
    """
    size = math.prod(tensor.shape[1:])
    # The gradient of `tf.unstack` would create zeros for all other components.
    rows = tf.reshape(tensor, (-1, size))
    return [rows[:, column] for column in range(size)]


def forms(traces: Traces, points: Points, *, wanted: Sequence[Form]) -> tuple:
    """Returns y and the values of forms, which are sums of partial derivatives."""
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
        indices: Multi-indices, over the flattened samples of all tensors.
        paths: The paths from x to the outputs.
    """
    levels = _levels(indices)
    dims = [math.prod(tensor.shape[1:]) for tensor in x]
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
    """Returns the derivatives to compute for each order, each from a parent of the order below.

    One reverse sweep computes all first derivatives of a parent. To have few parents, requested
    derivatives are used, and then those from which most derivatives can be computed.
    """
    by_order: list[set[MultiIndex]] = [{()}]
    for index in indices:
        by_order += [set() for _ in range(len(by_order), len(index) + 1)]
        by_order[len(index)].add(index)
    for level, lower in zip(by_order[:1:-1], by_order[-2:0:-1]):
        num_children = collections.Counter(
            parent for index in level for parent in _parents(index)
        )
        for index in sorted(level):
            parents = _parents(index)
            if lower.isdisjoint(parents):
                lower.add(max(parents, key=lambda parent: (num_children[parent], parent)))
    return [sorted(level) for level in by_order]


def _parents(index: MultiIndex) -> dict[MultiIndex, int]:
    """Returns the possible parents of a derivative, each with the axis that it lacks."""
    positions = range(len(index))
    return dict(sorted((index[:i] + index[i + 1 :], index[i]) for i in positions))


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
        dims: Size of a sample of each input.
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
    positions = [(n, position) for n, dim in enumerate(dims) for position in range(dim)]

    def differentiate(tape: tf.GradientTape) -> list:
        @functools.cache
        def jacobian(parent: MultiIndex, output: int, j: int) -> tf.Tensor:
            """Returns the Jacobian of one output and one input, `(batch, m, d)`."""
            columns = split[parent][output]
            inputs = [j, *(positions[axis][0] for axis in parent)]
            rows = column_gradients(paths, tape, columns, x[j], order, output, inputs)
            return tf.reshape(rows, (-1, len(columns), dims[j]))

        def derivative(index: MultiIndex) -> Any:
            parent, axis = _parent(index, below)
            j, position = positions[axis]
            flat = []
            for output, y in enumerate(keras.tree.flatten(outputs[parent])):
                slope = jacobian(parent, output, j)[..., position]
                flat.append(tf.cast(tf.reshape(slope, (-1, *y.shape[1:])), y.dtype))
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
        return traces.call(points.moved(t, directions).x)

    t = tf.zeros(tf.shape(points.moving[0])[:1], points.dtype)
    paths = Paths(traces, points, together=True)
    try:
        return tuple(
            nested_tapes(curve, t, order, functools.partial(line_step, paths, order))
        )
    # A layer in tf.recompute_grad allows only one sweep.
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
    """Returns y and the gradient of its slope along one direction for each sample."""
    paths, outputs = Paths(traces, points), []
    function = _function_of_moving_inputs(traces, points)
    step = functools.partial(_partials_step, paths, 0)

    def contracted(tensor: tf.Tensor, slopes: Any) -> tf.Tensor:
        """Returns the derivatives times the directions, in the shape of y."""
        products = []
        for slope, v in zip(keras.tree.flatten(slopes), directions, strict=True):
            dim = math.prod(v.shape[1:])
            rows = tf.reshape(slope, (-1, math.prod(tensor.shape[1:]), dim))
            product = tf.linalg.matvec(rows, tf.cast(tf.reshape(v, (-1, dim)), slope.dtype))
            products.append(tf.reshape(product, (-1, *tensor.shape[1:])))
        return tf.add_n(products)

    def slope(moving: Any) -> Any:
        y, slopes = nested_tapes(function, moving, 1, step)
        outputs.append(y)
        return keras.tree.map_structure_up_to(y, contracted, y, slopes)

    start = points.structured(points.moving)
    _, products = nested_tapes(slope, start, 1, functools.partial(_partials_step, paths, 1))
    return outputs[0], products


def _function_of_moving_inputs(traces: Traces, points: Points) -> Callable:
    """Returns the model as a function of its moving inputs."""
    return lambda moving: traces.call(points.with_moving(keras.tree.flatten(moving)).x)
