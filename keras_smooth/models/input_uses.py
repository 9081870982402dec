"""Whether an input of a model may be scaled, unlike indices, and which layer masks it."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.models import calls, checked_inputs, graph, references


@dataclasses.dataclass(frozen=True)
class Use:
    """How a model uses one of its inputs.

    Args:
        has_units: Whether it may be scaled. Indices, as for an Embedding, may not: they are
            integers, with respect to which outputs have no derivatives.
        masking: The layer that computes a mask from it, or None.
    """

    has_units: bool
    masking: keras.layers.Masking | None = None


def input_uses(model: keras.layers.Layer, x: Any, symbols: list) -> list[Use]:
    """Returns how a model uses each of its inputs, from a recorded call.

    Args:
        model: Built model or layer.
        x: Its inputs.
        symbols: Symbolic inputs, whose dtypes and batch size are used for the call.

    Raises:
        ValueError: If a mask depends on an input, but is not that of a Masking of this input.
    """
    leaves = checked_inputs.flat(x)
    samples = list(map(_first_sample, leaves, symbols))
    packed = checked_inputs.packed_as(x, samples)
    makers = list(filter(graph.may_make_mask, references.layers_within(model)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([sample for sample in samples if calls.is_float(sample)])
        recorded = calls.record(model, [model, *makers], (packed,))
    outputs = [call.output for call in recorded[id(model)]]
    masked = [
        (maker, argument)
        for maker in makers
        for call in recorded[id(maker)]
        for argument in [(*call.args, *call.kwargs.values())[0]]
        # A layer that only passes on masks returns None, since it receives none here.
        if maker.compute_mask(argument, None) is not None
    ]
    uses = []
    for values, sample in zip(leaves, samples):
        # Code outside of TensorFlow has no derivatives, but may use an input with units.
        has_units = calls.is_float(sample) and (
            _depends_on(tape, outputs, sample) or not _are_whole(values)
        )
        uses.append(Use(has_units, _masking(tape, sample, masked) if has_units else None))
    return uses


def _first_sample(values: Any, symbol: keras.KerasTensor) -> tf.Tensor:
    """Returns the first sample of an input, repeated to the batch size of the model."""
    sample = tf.cast(tf.convert_to_tensor(values)[:1], symbol.dtype)
    return tf.repeat(sample, symbol.shape[0] or 1, axis=0)


def _are_whole(values: Any) -> bool:
    values = tf.cast(values, "float64")
    return bool(tf.reduce_all(values == tf.round(values)))


def _masking(
    tape: tf.GradientTape, sample: tf.Tensor, compared: list
) -> keras.layers.Masking | None:
    """Returns the Masking that computes a mask from an input, or None."""
    masking = None
    for maker, argument in compared:
        if not _depends_on(tape, argument, sample):
            continue
        is_input = np.array_equal(argument, tf.cast(sample, argument.dtype))
        if not isinstance(maker, keras.layers.Masking) or not is_input:
            raise ValueError(
                f"The layer {maker.name!r} makes a mask from numbers that scales of x would "
                "change. Have a keras.layers.Masking do so, as the first layer after the "
                "Input, or scale x by yourself."
            )
        masking = maker
    return masking


def _depends_on(tape: tf.GradientTape, values: Any, sample: tf.Tensor) -> bool:
    floats = list(filter(calls.is_float, keras.tree.flatten(values)))
    try:
        return bool(floats) and tape.gradient(floats, sample) is not None
    # If an operation has no gradient, the values may depend on the sample.
    except Exception:
        return True
