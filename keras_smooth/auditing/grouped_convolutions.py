"""Convolutions in groups, which Keras compiles with XLA at every call."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.models import references

# Numbers of points for which they are compiled.
BATCHES = (16, 128, 512, 2048)
_KINDS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def within(part: keras.Operation) -> list[keras.layers.Layer]:
    """Returns the convolutions in groups in a part."""
    found = references.parts_within(part)
    return [each for each in found if isinstance(each, _KINDS) and each.groups > 1]


def compile_once(copy: keras.Operation) -> bool:
    """Has convolutions in groups compiled once for all calls of the same shapes.

    Returns whether there are any.

    Keras compiles them with XLA at every call. They alone become a graph: one may raise at
    a lower order than what it is made of, and they never raise.
    """
    for layer in within(copy):
        # Not setattr, which Keras uses to track what it takes for a part of the layer.
        vars(layer)["convolution_op"] = _as_graph(layer.convolution_op)
    return bool(within(copy))


def _as_graph(convolution: Callable) -> Callable:
    graph = tf.function(convolution, autograph=False)
    return lambda x, kernel: graph(x, tf.convert_to_tensor(kernel))


def filled_up(base: list, direction: list, t: np.ndarray) -> tuple[list, list, np.ndarray]:
    """Returns points filled up with the last one to one of few sizes, for few compilations."""
    size = (
        next(each for each in BATCHES if each >= len(t)) if len(t) < BATCHES[-1] else len(t)
    )
    more = size - len(t)

    def filled(leaf):
        if leaf is None or len(leaf) != len(t) or not more:
            return leaf
        return np.concatenate([leaf, np.repeat(leaf[-1:], more, axis=0)])

    return (
        list(map(filled, base)),
        list(map(filled, direction)),
        np.concatenate([t, np.repeat(t[-1:], more)]),
    )
