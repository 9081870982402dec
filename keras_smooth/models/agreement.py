"""The distance of two outputs, and the distance that rounding may cause."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.models import calls, graph

# The number of roundings that outputs may differ by, since each operation rounds.
ROUNDINGS = 100.0
# The distance from 1 to the next larger number. NumPy does not have it for bfloat16.
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10,
           "bfloat16": 2.0**-7}  # fmt: skip


def distance(a: Any, b: Any) -> float:
    """Returns the largest difference of two structures, relative to the largest value of the first.

    It is infinity if the structures differ in shapes, in values that are not floats, or in the
    positions of values that are not finite.
    """
    leaves = keras.tree.flatten(a), keras.tree.flatten(b)
    if len(leaves[0]) != len(leaves[1]):
        return math.inf
    return max(map(_distance, *leaves), default=0.0)


def _distance(a: Any, b: Any) -> float:
    if not calls.is_float(a):
        is_known = tf.is_tensor(a) and tf.is_tensor(b) and a.shape.is_fully_defined()
        differs = is_known and not np.array_equal(a, b)
        return math.inf if differs else 0.0
    a, b = (np.asarray(tf.cast(value, tf.float64)) for value in (a, b))
    finite = np.isfinite(a)
    if a.shape != b.shape or np.any(finite != np.isfinite(b)):
        return math.inf
    scale = max(1e-3, np.abs(a[finite]).max(initial=0.0))
    return float(np.abs(a - b)[finite].max(initial=0.0) / scale)


def epsilon(model: Callable, output: Any) -> float:
    """Returns the rounding error of the least precise dtype in which a model computes."""
    return EPSILON.get(least_precise_dtype(model, output), 0.0)


def least_precise_dtype(model: Callable, output: Any) -> str:
    """Returns the least precise floating dtype in which a model computes, "" without any.

    For a function, only the dtypes of its outputs are known.
    """
    parts = graph.walk(model) if isinstance(model, keras.Operation) else ()
    layers = [piece for _, piece in parts if isinstance(piece, keras.layers.Layer)]
    dtypes = {layer.compute_dtype for layer in layers}
    leaves = filter(calls.is_float, keras.tree.flatten(output))
    dtypes |= {leaf.dtype.name for leaf in leaves}
    return max(dtypes & EPSILON.keys(), key=EPSILON.__getitem__, default="")


def agrees(
    run: Callable, arguments: tuple, output: Any, expected: Any, rounding: float
) -> bool:
    """Returns whether the outputs of two functions differ by rounding only.

    The allowed distance includes the change of the output if the arguments are rounded.

    Args:
        run: A function of args and kwargs, in the more precise dtype.
        arguments: Its args and kwargs.
        output: Its output for these.
        expected: The output of the other function, in the less precise dtype.
        rounding: The relative rounding error of the less precise dtype.
    """
    difference = distance(output, expected)
    if difference <= ROUNDINGS * rounding:
        return True
    rng = np.random.default_rng(0)

    def rounded(leaf: Any) -> Any:
        if not calls.is_float(leaf):
            return leaf
        signs = rng.choice([-1.0, 1.0], leaf.shape)
        return leaf * tf.cast(1.0 + rounding * signs, leaf.dtype)

    change = distance(output, run(*keras.tree.map_structure(rounded, arguments)))
    return difference <= ROUNDINGS * (rounding + (change if math.isfinite(change) else 0.0))
