"""UpSampling2D whose interpolation can be differentiated more than once."""

import math

import keras
from keras import ops

from keras_smooth import registry


@keras.saving.register_keras_serializable(package="keras_smooth")
class UpSampling2D(keras.layers.UpSampling2D):
    """A `keras.layers.UpSampling2D` with derivatives of every order.

    On TensorFlow, bicubic interpolation of Keras' layer raises for a second derivative,
    and bilinear interpolation computes in float32. This layer applies the same
    interpolation as one matrix for each axis, which is linear to every order.

    Arguments and outputs are those of Keras' layer. Images of unknown height or width
    take Keras' own code.

    Example:

    >>> import numpy as np, keras_smooth
    >>> layer = keras_smooth.layers.UpSampling2D(2, interpolation="bicubic")
    >>> keras_smooth.audit(layer, 2, np.ones((1, 3, 3, 1))).ok
    True

    References:
        Keys, 1981, "Cubic convolution interpolation for digital image processing", IEEE
        Transactions on Acoustics, Speech, and Signal Processing 29, 1153.
    """

    def call(self, inputs):
        rows, columns = (1, 2) if self.data_format == "channels_last" else (2, 3)
        sizes = inputs.shape[rows], inputs.shape[columns]
        if self.interpolation == "nearest" or None in sizes:
            return super().call(inputs)
        vertical, horizontal = (
            ops.cast(self._matrix(size, axis), inputs.dtype)
            for axis, size in enumerate(sizes)
        )
        equation = "bhwc,hi,wj->bijc" if rows == 1 else "bchw,hi,wj->bcij"
        return ops.einsum(equation, inputs, vertical, horizontal)

    def _matrix(self, size: int, axis: int):
        """Returns what Keras' layer makes of each unit vector along one axis."""
        shape = [size, 1, 1]
        shape[axis + 1] = size
        images = ops.reshape(ops.eye(size, dtype="float32"), shape)
        channel = -1 if self.data_format == "channels_last" else 1
        result = super().call(ops.expand_dims(images, channel))
        result = ops.squeeze(result, axis=channel)
        return result[:, :, 0] if axis == 0 else result[:, 0, :]


registry.register_smoothness(UpSampling2D, math.inf)
EXACT = {keras.layers.UpSampling2D: UpSampling2D}
