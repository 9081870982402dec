"""Gradients that a model declares, which can differ from those of the function it computes.

`tf.stop_gradient` and `tf.custom_gradient` change the gradients that TensorFlow's tapes return.
Jets ignore them. Often both agree: TensorFlow's own functions stop the gradient of a mean, or
declare a gradient to save memory. One derivative along one direction shows whether they agree.
"""

import concurrent.futures
import functools
from collections.abc import Iterable

import keras
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.differentiation import taylor
from keras_smooth.differentiation.points import Points, random_points
from keras_smooth.differentiation.traces import Traces
from keras_smooth.models import calls
from keras_smooth.models.agreement import EPSILON
from keras_smooth.operations.program import layer_path
from keras_smooth.operations.rows import tapes_right_to
from keras_smooth.presentation.warn import warn_once

_SEED = (7, 11)
# The kinds of operations that declare a gradient, and the functions that create them.
_FUNCTIONS = {"StopGradient": "tf.stop_gradient", "IdentityN": "tf.custom_gradient"}


def change_first_derivative(traces: Traces, points: Points) -> bool:
    """Returns whether a model declares a wrong first derivative, and warns if so.

    The derivatives are compared at the points in eager mode, and at random points in a graph.
    They are not compared, and the result is False, in training mode and where the derivative
    is lost.

    Args:
        traces: The traces of the model.
        points: The points at which it is differentiated.
    """
    declaring = (
        operation
        for operation in traces.apply_to_program(operations.on_paths, points)
        if operation.type in _FUNCTIONS and tapes_right_to(operation, [True]) < 2
    )
    operation = next(declaring, None)
    if operation is None or traces.training:
        return False
    # By trace, which may be stored between calls.
    results, key = traces.at(points).results, (change_first_derivative, points.places)
    if key not in results:
        results[key] = _compare_in_eager_mode(traces, points)
    if results[key]:
        warn_once(
            traces.model,
            f"{traces.name}: {_FUNCTIONS[operation.type]} in {layer_path(operation)} declares "
            "another gradient than that of the function it computes. Its derivatives are those "
            'of the function; engine="tape" returns those that are declared.',
        )
    return results[key]


def _compare_in_eager_mode(traces: Traces, points: Points) -> bool:
    """Returns whether tapes and jets differ, False if a derivative cannot be computed."""
    try:
        if tf.executing_eagerly():
            return bool(calls.without_side_effects(_tapes_differ_from_jets, traces, points))
        # Eager tapes are paused while a graph is built, but not in another thread.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            new_traces = Traces(traces.model)
            return pool.submit(
                lambda: _compare_in_eager_mode(new_traces, random_points(points))
            ).result()
    # A custom gradient can raise any error, and may not be needed.
    except Exception:
        return False


def _tapes_differ_from_jets(traces: Traces, points: Points) -> tf.Tensor:
    """Returns whether tapes and jets differ in a derivative along a random direction."""
    directions = [_random_like(x) for x in points.moving]
    propagate = functools.partial(taylor.propagate, traces)
    entries = taylor.along(propagate, points, *directions, order=1)
    with tf.GradientTape() as tape:
        tape.watch(points.moving)
        y = _float_leaves(traces.call(points.x))
        weighted = tf.add_n([tf.reduce_sum(_random_like(leaf) * leaf) for leaf in y])
    rows = tape.gradient(weighted, points.moving, unconnected_gradients="zero")
    reverse = [row * v for row, v in zip(rows, directions)]
    forward = [_random_like(leaf) * leaf for leaf in _float_leaves(entries[1])]
    declared, computed = _sum(reverse), _sum(forward)
    # If all terms cancel, as after the subtraction of a mean, their rounding is that of y.
    scale = _sum(map(tf.abs, [*reverse, *forward, *y]))
    # Half of the digits: above rounding errors, below a declared change. NaN counts as equal.
    tolerance = EPSILON[points.dtype.name] ** 0.5
    return tf.abs(computed - declared) > tolerance * scale


def _sum(terms: Iterable[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(tf.cast(term, "float64")) for term in terms])


def _float_leaves(y: object) -> list[tf.Tensor]:
    return [leaf for leaf in keras.tree.flatten(y) if leaf.dtype.is_floating]


def _random_like(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.random.stateless_uniform(tf.shape(x), _SEED, 0.5, 1.5), x.dtype)
