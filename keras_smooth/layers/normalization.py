"""Normalization layers with exact derivatives of every order.

Keras computes mean and variance by `tf.nn.moments`, which stops the gradient of the mean in
the variance. The first derivative is still right, but the second one is wrong.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_smooth.layers.construction import construct
from keras_smooth.layers.table import exact


def moments(x: Any, axes: Any, keepdims: bool = False) -> tuple:
    """Returns mean and variance of x, without a stopped gradient.

    In half precision, mean and variance are computed in float32, as in Keras.

    Args:
        x: Tensor of floats.
        axes: Axes over which mean and variance are computed.
        keepdims: Whether the axes are kept, with size 1.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    wide = ops.cast(x, "float32") if dtype in ("float16", "bfloat16") else x
    mean = ops.mean(wide, axis=axes, keepdims=True)
    variance = ops.mean(ops.square(wide - mean), axis=axes, keepdims=keepdims)
    mean = mean if keepdims else ops.squeeze(mean, axis=tuple(axes))
    return ops.cast(mean, dtype), ops.cast(variance, dtype)


@exact
class LayerNormalization(keras.layers.LayerNormalization):
    """A `keras.layers.LayerNormalization` with exact derivatives of every order.

    Arguments, weights and outputs are those of Keras' layer.

    Args:
        axis: Integer or list of integers, the axes that are normalized.
        epsilon: Positive number that is added to the variance.
        center: Whether a trained offset beta is added.
        scale: Whether the result is multiplied by a trained gamma.
        beta_initializer: Initializer of the offset.
        gamma_initializer: Initializer of the scale.
        beta_regularizer: Regularizer of the offset, or None.
        gamma_regularizer: Regularizer of the scale, or None.
        beta_constraint: Constraint of the offset, or None.
        gamma_constraint: Constraint of the scale, or None.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        Any.

    Output shape:
        That of the input.

    Example:

    >>> import keras, keras_smooth
    >>> model = keras.Sequential([keras.Input((3,)), keras_smooth.layers.LayerNormalization()])
    >>> keras_smooth.audit(model, order=3).ok
    True

    References:
        Ba et al., 2016, "Layer normalization", https://arxiv.org/abs/1607.06450,
        equation 3.
    """

    def call(self, inputs: Any) -> Any:
        if self.rms_scaling:
            return super().call(inputs)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean, variance = moments(x, self.axis, keepdims=True)
        return _scaled(self, (x - mean) * ops.rsqrt(variance + self.epsilon), self.axis)


def _scaled(layer: keras.layers.Layer, x: Any, axes: Sequence[int]) -> Any:
    """Returns x times gamma plus beta of a layer, if it has them, which have the axes `axes`."""
    shape = [1] * len(x.shape)
    for axis in axes:
        shape[axis] = x.shape[axis]
    for weight, operation in ((layer.gamma, ops.multiply), (layer.beta, ops.add)):
        if weight is not None:
            x = operation(x, ops.cast(ops.reshape(weight, shape), x.dtype))
    return ops.cast(x, layer.compute_dtype)


@exact
class GroupNormalization(keras.layers.GroupNormalization):
    """A `keras.layers.GroupNormalization` with exact derivatives of every order.

    Arguments, weights and outputs are those of Keras' layer.

    Args:
        groups: Positive integer, the number of groups into which the channels are split; each
            group is normalized by its own mean and variance.
        axis: Integer or list of integers, the axes that are normalized.
        epsilon: Positive number that is added to the variance.
        center: Whether a trained offset beta is added.
        scale: Whether the result is multiplied by a trained gamma.
        beta_initializer: Initializer of the offset.
        gamma_initializer: Initializer of the scale.
        beta_regularizer: Regularizer of the offset, or None.
        gamma_regularizer: Regularizer of the scale, or None.
        beta_constraint: Constraint of the offset, or None.
        gamma_constraint: Constraint of the scale, or None.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        Any.

    Output shape:
        That of the input.

    Example:

    >>> import keras_smooth
    >>> keras_smooth.audit(keras_smooth.layers.GroupNormalization(2), order=2).ok
    True

    References:
        Wu and He, 2018, "Group normalization", https://arxiv.org/abs/1803.08494,
        equation 7.
    """

    def call(self, inputs: Any) -> Any:
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
        return _scaled(self, ops.reshape(grouped, shape), [axis])


@exact
class BatchNormalization(keras.layers.BatchNormalization):
    """A `keras.layers.BatchNormalization` with exact derivatives in training mode too.

    Arguments, weights and outputs are those of Keras' layer.

    Args:
        axis: Integer or list of integers, the axes that are normalized.
        momentum: Number between 0 and 1, the momentum of the moving averages.
        epsilon: Positive number that is added to the variance.
        center: Whether a trained offset beta is added.
        scale: Whether the result is multiplied by a trained gamma.
        beta_initializer: Initializer of the offset.
        gamma_initializer: Initializer of the scale.
        moving_mean_initializer: Initializer of the moving average of the mean.
        moving_variance_initializer: Initializer of the moving average of the variance.
        beta_regularizer: Regularizer of the offset, or None.
        gamma_regularizer: Regularizer of the scale, or None.
        beta_constraint: Constraint of the offset, or None.
        gamma_constraint: Constraint of the scale, or None.
        renorm: Whether to use batch renormalization; True raises an error.
        renorm_clipping: As in Keras; without effect.
        renorm_momentum: As in Keras; without effect.
        synchronized: Whether to compute moments over all replicas; True raises an error.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        Any.

    Output shape:
        That of the input.

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

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | dict | Callable = "zeros",
        gamma_initializer: str | dict | Callable = "ones",
        moving_mean_initializer: str | dict | Callable = "zeros",
        moving_variance_initializer: str | dict | Callable = "ones",
        beta_regularizer: str | dict | Callable | None = None,
        gamma_regularizer: str | dict | Callable | None = None,
        beta_constraint: str | dict | Callable | None = None,
        gamma_constraint: str | dict | Callable | None = None,
        renorm: bool = False,
        renorm_clipping: dict | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        for name, value in (("synchronized", synchronized), ("renorm", renorm)):
            if value:
                raise ValueError(
                    f"BatchNormalization received {name}=True, for which there are no exact "
                    "derivatives. Leave it out, or use Keras' own layer."
                )
        construct(super(), locals())

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        # With a mask, Keras computes the moments without `tf.nn.moments`.
        if not (training and self.trainable) or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        axis = self.axis % len(x.shape)
        mean, variance = moments(x, [i for i in range(len(x.shape)) if i != axis])
        averages = self.moving_mean, self.moving_variance
        for moving, value in zip(averages, (mean, variance)):
            previous = ops.cast(moving, x.dtype) * self.momentum
            moving.assign(previous + value * (1.0 - self.momentum))
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


@exact
class UnitNormalization(keras.layers.UnitNormalization):
    """A `keras.layers.UnitNormalization` whose derivatives at zero are 0, not NaN.

    Arguments and outputs are those of Keras' layer. x / norm(x) has no derivative at zero.
    Everywhere else, the derivatives of all orders exist and are exact.

    Args:
        axis: Integer or list of integers, the axes that are normalized.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        Any.

    Output shape:
        That of the input.

    Example:

    >>> import numpy as np, keras_smooth
    >>> layer = keras_smooth.layers.UnitNormalization(dtype="float64")
    >>> d2y = keras_smooth.derivatives(layer, np.zeros((1, 2)))[2]
    >>> bool(np.isfinite(d2y).all())
    True
    """

    def call(self, inputs: Any) -> Any:
        square = ops.sum(ops.square(inputs), axis=self.axis, keepdims=True)
        zero = ops.equal(square, 0)
        # The root is never evaluated at 0, where its derivative is infinite and would make the
        # derivative of the other branch NaN.
        norm = ops.sqrt(ops.where(zero, ops.ones_like(square), square))
        return inputs * ops.where(zero, ops.zeros_like(square), 1.0 / norm)
