"""Normalization layers with exact derivatives of every order.

Keras takes mean and variance from `tf.nn.moments`, which stops the gradient of the mean
inside the variance: harmless for one derivative, wrong for two.
"""

import math

import keras
from keras import ops

from keras_smooth import registry


def moments(x, axes, keepdims: bool = False) -> tuple:
    """Returns mean and variance of x, with nothing stopped in their derivatives.

    In half precision they are computed in float32, as Keras does.

    Args:
        x: Tensor of floats.
        axes: Axes over which they are taken.
        keepdims: Whether the axes stay, with size 1.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    wide = ops.cast(x, "float32") if dtype in ("float16", "bfloat16") else x
    mean = ops.mean(wide, axis=axes, keepdims=True)
    variance = ops.mean(ops.square(wide - mean), axis=axes, keepdims=keepdims)
    mean = mean if keepdims else ops.squeeze(mean, axis=tuple(axes))
    return ops.cast(mean, dtype), ops.cast(variance, dtype)


@keras.saving.register_keras_serializable(package="keras_smooth")
class LayerNormalization(keras.layers.LayerNormalization):
    """A `keras.layers.LayerNormalization` with exact derivatives of every order.

    Arguments, weights and outputs are those of Keras' layer.

    Example:

    >>> import keras, keras_smooth
    >>> model = keras.Sequential([keras.Input((3,)), keras_smooth.layers.LayerNormalization()])
    >>> keras_smooth.audit(model, order=3).ok
    True

    References:
        Ba et al., 2016, "Layer normalization", https://arxiv.org/abs/1607.06450,
        equation 3.
    """

    def call(self, inputs):
        if self.rms_scaling:
            return super().call(inputs)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean, variance = moments(x, self.axis, keepdims=True)
        outputs = (x - mean) * ops.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            outputs = outputs * _broadcast(self.gamma, x, self.axis)
        if self.beta is not None:
            outputs = outputs + _broadcast(self.beta, x, self.axis)
        return ops.cast(outputs, self.compute_dtype)


def _broadcast(weight, x, axes):
    shape = [1] * len(x.shape)
    for axis in axes:
        shape[axis] = x.shape[axis]
    return ops.cast(ops.reshape(weight, shape), x.dtype)


@keras.saving.register_keras_serializable(package="keras_smooth")
class GroupNormalization(keras.layers.GroupNormalization):
    """A `keras.layers.GroupNormalization` with exact derivatives of every order.

    Arguments, weights and outputs are those of Keras' layer.

    Example:

    >>> import keras_smooth
    >>> keras_smooth.audit(keras_smooth.layers.GroupNormalization(2), order=2).ok
    True

    References:
        Wu and He, 2018, "Group normalization", https://arxiv.org/abs/1803.08494,
        equation 7.
    """

    def call(self, inputs):
        axis = self.axis % len(inputs.shape)
        channels = inputs.shape[axis]
        shape = list(ops.shape(inputs))
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        grouped = ops.reshape(
            x, (*shape[:axis], self.groups, channels // self.groups, *shape[axis + 1 :])
        )
        axes = [i for i in range(1, len(grouped.shape)) if i != axis]
        mean, variance = moments(grouped, axes, keepdims=True)
        grouped = (grouped - mean) * ops.rsqrt(variance + self.epsilon)
        outputs = ops.reshape(grouped, shape)
        if self.scale:
            outputs = outputs * _broadcast(self.gamma, x, [axis])
        if self.center:
            outputs = outputs + _broadcast(self.beta, x, [axis])
        return ops.cast(outputs, self.compute_dtype)


@keras.saving.register_keras_serializable(package="keras_smooth")
class BatchNormalization(keras.layers.BatchNormalization):
    """A `keras.layers.BatchNormalization` with exact derivatives in training mode too.

    Arguments, weights and outputs are those of Keras' layer.

    Args:
        *args: Arguments of `keras.layers.BatchNormalization`.
        **kwargs: Its keyword arguments. `synchronized` and `renorm` are refused: the
            first takes Keras' moments, the second stops gradients by its definition.

    Raises:
        ValueError: If `synchronized` or `renorm` is true.

    Example:

    >>> import keras_smooth
    >>> keras_smooth.audit(keras_smooth.layers.BatchNormalization(), order=2).ok
    True

    References:
        Ioffe and Szegedy, 2015, "Batch normalization",
        https://arxiv.org/abs/1502.03167, algorithm 1.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for name in ("synchronized", "renorm"):
            # Keras 3.12 has no `renorm`.
            if getattr(self, name, False):
                raise ValueError(
                    f"BatchNormalization received {name}=True, for which there are no "
                    f"exact derivatives. Leave it out, or take Keras' own layer."
                )

    def call(self, inputs, training=None, mask=None):
        # With a mask, Keras computes the moments itself, and without the fault.
        if not (training and self.trainable) or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        axis = self.axis % len(x.shape)
        mean, variance = moments(x, [i for i in range(len(x.shape)) if i != axis])
        for moving, value in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            kept = ops.cast(moving, x.dtype) * self.momentum
            moving.assign(kept + value * (1.0 - self.momentum))
        outputs = ops.batch_normalization(
            x,
            mean,
            variance,
            axis,
            offset=ops.cast(self.beta, x.dtype) if self.center else None,
            scale=ops.cast(self.gamma, x.dtype) if self.scale else None,
            epsilon=self.epsilon,
        )
        return ops.cast(outputs, self.compute_dtype)


@keras.saving.register_keras_serializable(package="keras_smooth")
class UnitNormalization(keras.layers.UnitNormalization):
    """A `keras.layers.UnitNormalization` whose derivatives at zero are 0, not NaN.

    Arguments and outputs are those of Keras' layer. x / |x| has no derivative at zero;
    everywhere else all orders exist and are exact.

    Example:

    >>> import numpy as np, keras_smooth
    >>> layer = keras_smooth.layers.UnitNormalization(dtype="float64")
    >>> d2y = keras_smooth.derivatives(layer, np.zeros((1, 2)))[2]
    >>> bool(np.isfinite(d2y).all())
    True
    """

    def call(self, inputs):
        square = ops.sum(ops.square(inputs), axis=self.axis, keepdims=True)
        zero = ops.equal(square, 0)
        # The root sees no 0, so that the branch not taken has no infinite derivative.
        norm = ops.sqrt(ops.where(zero, ops.ones_like(square), square))
        return inputs * ops.where(zero, ops.zeros_like(square), 1.0 / norm)


EXACT = {
    keras.layers.LayerNormalization: LayerNormalization,
    keras.layers.GroupNormalization: GroupNormalization,
    keras.layers.BatchNormalization: BatchNormalization,
    keras.layers.UnitNormalization: UnitNormalization,
}
for _stock, _exact in EXACT.items():
    registry.register_smoothness(_exact, -1 if "Unit" in _exact.__name__ else math.inf)
