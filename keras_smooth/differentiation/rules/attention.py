"""Rules of attention layers without masks; the others are left to nested tapes."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import jet
from keras_smooth.differentiation.rules.linear import weight
from keras_smooth.differentiation.rules.table import apply, rows
from keras_smooth.jet import Jet


def _parts(inputs: list) -> tuple:
    """Returns query, value and key, as Keras orders them."""
    query, value = inputs[:2]
    return query, value, inputs[2] if len(inputs) > 2 else value


def _einsum(equation: str, x, y) -> Jet:
    return jet.bilinear(lambda a, b: tf.einsum(equation, a, b), x, y)


def _summed(x: Jet, axis: int) -> Jet:
    return jet.linear(lambda v: tf.reduce_sum(v, axis=axis), x)


def _expanded(x, axis: int):
    if isinstance(x, Jet):
        return jet.linear(lambda v: tf.expand_dims(v, axis), x)
    return tf.expand_dims(x, axis)


def _additive_scores(layer, query, key) -> Jet:
    total = _expanded(query, -2) + _expanded(key, -3)
    if layer.scale is None:
        return _summed(jet.tanh(total), -1)
    scale = weight(layer.scale, total.dtype)
    if isinstance(layer, keras.layers.AdditiveAttention):
        return _summed(jet.tanh(total) * scale, -1)
    return _summed(jet.tanh(total * scale), -1)


def _attention(layer, inputs: list, *args, **kwargs) -> Jet:
    query, value, key = _parts(inputs)
    if args or kwargs or not (isinstance(query, Jet) or isinstance(key, Jet)):
        return NotImplemented
    if isinstance(layer, keras.layers.AdditiveAttention):
        scores = _additive_scores(layer, query, key)
    elif layer.score_mode == "concat":
        scores = _additive_scores(layer, query, key)
        scores = scores * weight(layer.concat_score_weight, scores.dtype)
    else:
        scores = _einsum("...tf,...sf->...ts", query, key)
        if layer.scale is not None:
            scores = scores * weight(layer.scale, scores.dtype)
    return _einsum("...ts,...sf->...tf", jet.softmax(scores), value)


def _scale(layer: keras.layers.Layer) -> float:
    # Keras rounds this number to float32 in every precision.
    return float(np.float32(1.0 / math.sqrt(layer.key_dim)))


def _multi_head_attention(layer, query, value=None, key=None, **kwargs) -> Jet:
    value = query if value is None else value
    key = value if key is None else key
    if kwargs or query.shape.rank != 3 or layer.get_config().get("use_gate"):
        return NotImplemented
    projected = zip(
        (layer.query_dense, layer.key_dense, layer.value_dense), (query, key, value)
    )
    query, key, value = (apply(dense, x) for dense, x in projected)
    if not (isinstance(query, Jet) or isinstance(key, Jet)):
        return NotImplemented
    scores = _einsum("...tnh,...snh->...nts", query, key) * _scale(layer)
    return apply(
        layer.output_dense, _einsum("...nts,...snh->...tnh", jet.softmax(scores), value)
    )


rows(_attention, keras.layers, "AdditiveAttention Attention")
rows(_multi_head_attention, keras.layers, "MultiHeadAttention")
