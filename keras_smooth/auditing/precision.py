"""What a layer's own dtype does to its derivatives, held against its copy in float64."""

import dataclasses
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.auditing import grouped_convolutions
from keras_smooth.auditing.findings import LOWER, Finding
from keras_smooth.auditing.lines import GENERIC
from keras_smooth.auditing.measured_call import MeasuredCall, projected
from keras_smooth.auditing.towers import curve_derivatives, tower
from keras_smooth.models import agreement, calls, copies

POINTS = np.array([0.0, 0.31, -0.53])
# What is asked of derivatives, by the dtype of the model.
BOUND = {"float64": 1e-9}
BOUND_ELSE = 1e-3


def errors(
    part: keras.Operation,
    call: calls.Call,
    measured: MeasuredCall,
    order: int,
    single_is_enough: bool = False,
) -> tuple[float, ...]:
    """Returns the relative error of the derivatives of orders 1 and up in a part's own dtype.

    Both see the same inputs, rounded to the dtype in which they come in. NaN where there
    is no derivative; nothing where there is no copy, where samples are not independent, and
    for convolutions in groups, which Keras compiles at every call.

    Args:
        part: The layer, model or operation.
        call: A call of it.
        measured: The same with its copy.
        order: The highest order.
        single_is_enough: Whether nothing need be measured of what computes in float32.
    """
    rounding = agreement.epsilon(part, call.output)
    if rounding <= np.finfo("float64").eps:
        return (0.0,) * order
    if measured.uncopied:
        return ()
    if single_is_enough and rounding <= np.finfo("float32").eps:
        return ()
    if not measured.takes_samples_together(False) or grouped_convolutions.within(part):
        return ()
    leaves = keras.tree.flatten(copies.arguments_in(None, call))
    dtypes = [leaf.dtype if calls.is_float(leaf) else None for leaf in leaves]
    fine = _derivatives(measured, measured.output, dtypes, measured.dtype, order)

    def run(args, kwargs, training):
        return calls.call_without_trace(part, *args, training=training, **kwargs)

    coarse = _derivatives(measured, run, dtypes, None, order)
    return tuple(_error(fine, coarse, k) for k in range(1, order + 1))


def _derivatives(
    measured: MeasuredCall, run: Callable, dtypes: list, dtype: str | None, order: int
) -> np.ndarray:
    base, direction = measured.through(GENERIC)

    def curve(t):
        structure = measured.batched(base, direction, t)
        moved = [
            leaf if own is None else _rounded(leaf, own, dtype)
            for leaf, own in zip(keras.tree.flatten(structure), dtypes, strict=True)
        ]
        args, kwargs = keras.tree.pack_sequence_as(structure, moved)
        return projected(run(args, kwargs, False), keep_batch=True)

    found = tower(
        [(len(POINTS), curve_derivatives(curve, tf.constant(POINTS), order))], 0.0
    )
    lost = min(found.missing, found.raised[0])
    return np.where(np.arange(order + 1)[:, None] < lost, found.values, np.nan)


def _rounded(leaf: tf.Tensor, own: tf.DType, dtype: str | None) -> tf.Tensor:
    leaf = tf.cast(leaf, own)
    return leaf if dtype is None else tf.cast(leaf, dtype)


def _error(fine: np.ndarray, coarse: np.ndarray, k: int) -> float:
    scale = np.abs(fine[k]).max() + LOWER * np.abs(fine[:k]).max()
    if not scale > 0:
        return 0.0 if scale == 0 else math.nan
    return float(np.abs(fine[k] - coarse[k]).max() / scale)


def judged(
    found: Finding, errors: tuple[float, ...], part: keras.Operation, dtype: str
) -> Finding:
    """Returns a finding with its precision, at fault if that is less than a dtype's."""
    found = dataclasses.replace(found, precision=errors)
    bound = BOUND.get(dtype, BOUND_ELSE)
    for k, error in enumerate(errors, 1):
        if error > bound and found.verdict == "ok":
            reason = f"it computes in {getattr(part, 'compute_dtype', 'its own dtype')}"
            return dataclasses.replace(found, verdict="imprecise", order=k, reason=reason)
    return found
