"""Gradients that a model declares, which need not be those of the function it computes.

`tf.stop_gradient` and `tf.custom_gradient` change what TensorFlow's tapes return, jets do not
use them. Often both agree: TensorFlow's own functions stop the gradient of a mean, or save
memory. One derivative along one direction shows whether they agree.
"""

import concurrent.futures
import functools
import weakref
from collections.abc import Iterable

import keras
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.differentiation import taylor
from keras_smooth.differentiation.points import Points, drawn
from keras_smooth.differentiation.traces import Traces
from keras_smooth.models import calls
from keras_smooth.models.agreement import EPSILON
from keras_smooth.operations.program import layer_path
from keras_smooth.operations.rows import tapes_right_to
from keras_smooth.presentation.warn import warn_once

_SEED = (7, 11)
# By trace, which is kept between calls for models of Keras' own layers.
_known: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
# TensorFlow's names of what declares a gradient.
_KINDS = {"StopGradient": "tf.stop_gradient", "IdentityN": "tf.custom_gradient"}


def change_first_derivative(traces: Traces, points: Points) -> bool:
    """Returns whether a model declares a wrong first derivative, and warns if so.

    It is asked of the points in eager mode, in a graph of points that are drawn. Nothing is
    known, and False returned, in training mode and where such a derivative is lost.

    Args:
        traces: What the model computes.
        points: Where it is differentiated.
    """
    declaring = (
        operation
        for operation in traces.of_program(operations.on_paths, points)
        if operation.type in _KINDS and tapes_right_to(operation, [True]) < 2
    )
    operation = next(declaring, None)
    if operation is None or traces.training:
        return False
    traced = traces.at(points)
    if traced not in _known:
        _known[traced] = _changes(traces, points)
    if _known[traced]:
        warn_once(
            traces.model,
            f"{traces.name}: {_KINDS[operation.type]} in {layer_path(operation)} declares another "
            "gradient than that of the function it computes. Its derivatives are those of the "
            'function; engine="tape" returns those that are declared.',
        )
    return _known[traced]


def _changes(traces: Traces, points: Points) -> bool:
    try:
        if tf.executing_eagerly():
            return bool(calls.without_trace(_differs, traces, points))
        # Tapes are paused while a graph is built; another thread is eager.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            anew = Traces(traces.model)
            return pool.submit(lambda: _changes(anew, drawn(points))).result()
    # A gradient of the user can raise any error, and may not be needed.
    except Exception:
        return False


def _differs(traces: Traces, points: Points) -> tf.Tensor:
    """Returns whether tapes and jets differ in a derivative along a direction."""
    directions = [_random(x) for x in points.moving]
    propagate = functools.partial(taylor.propagate, traces)
    entries = taylor.along(propagate, points, *directions, order=1)
    with tf.GradientTape() as tape:
        tape.watch(points.moving)
        y = _floats(traces.called(points.x))
        weighted = tf.add_n([tf.reduce_sum(_random(leaf) * leaf) for leaf in y])
    rows = tape.gradient(weighted, points.moving, unconnected_gradients="zero")
    reverse = [row * v for row, v in zip(rows, directions)]
    forward = [_random(leaf) * leaf for leaf in _floats(entries[1])]
    declared, computed = _sum(reverse), _sum(forward)
    # Where all terms cancel, as behind a mean that is subtracted, they are rounded as y is.
    scale = _sum(map(tf.abs, [*reverse, *forward, *y]))
    # Half of the digits: above rounding, below what is declared. NaN is no difference.
    tolerance = EPSILON[points.dtype.name] ** 0.5
    return tf.abs(computed - declared) > tolerance * scale


def _sum(terms: Iterable[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(tf.cast(term, "float64")) for term in terms])


def _floats(y: object) -> list[tf.Tensor]:
    return [leaf for leaf in keras.tree.flatten(y) if leaf.dtype.is_floating]


def _random(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.random.stateless_uniform(tf.shape(x), _SEED, 0.5, 1.5), x.dtype)
