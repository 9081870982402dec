"""Transposed convolutions with an order.

Written by tools/write_layers.py for the signatures of Keras 3.15: change that, not this.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_smooth.layers.arguments import keras_arguments
from keras_smooth.layers.order import checked_order
from keras_smooth.layers.table import ordered


@ordered
class Conv1DTranspose(keras.layers.Conv1DTranspose):
    """A `keras.layers.Conv1DTranspose` that can be differentiated `order` times.

    Args:
        filters: Positive integer, the channels of the output.
        kernel_size: Integer, the size of the kernel.
        strides: Integer, by how much the output is larger.
        padding: "valid" for none, or "same", which pads evenly so that strides of 1 keep
            the size.
        output_padding: Integer, how much is added to one side of the output, less than the
            strides; None is as little as fits.
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        dilation_rate: Integer, the distance of the points that a kernel reads; other than 1
            only with strides of 1.
        activation: The name of an activation of this package or of Keras, or a function.
            None is the identity.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the kernel, or None.
        bias_regularizer: Regularizer of the bias, or None.
        activity_regularizer: Regularizer of the outputs, or None.
        kernel_constraint: Constraint of the kernel, or None.
        bias_constraint: Constraint of the bias, or None.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer raises an error; 0 allows every activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, steps, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        `(batch, new_steps, filters)`, likewise.

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.Conv1DTranspose(4, 3, activation="snake")
    >>> layer(keras.Input((8, 2))).shape
    (None, 10, 4)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable | None = None,
        use_bias: bool = True,
        kernel_initializer: str | dict | Callable = "glorot_uniform",
        bias_initializer: str | dict | Callable = "zeros",
        kernel_regularizer: str | dict | Callable | None = None,
        bias_regularizer: str | dict | Callable | None = None,
        activity_regularizer: str | dict | Callable | None = None,
        kernel_constraint: str | dict | Callable | None = None,
        bias_constraint: str | dict | Callable | None = None,
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.order = checked_order(self, order, self.activation)


@ordered
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """A `keras.layers.Conv2DTranspose` that can be differentiated `order` times.

    Args:
        filters: Positive integer, the channels of the output.
        kernel_size: Integer or 2 integers, the size of the kernel.
        strides: Integer or 2 integers, by how much the output is larger.
        padding: "valid" for none, or "same", which pads evenly so that strides of 1 keep
            the size.
        output_padding: Integer or 2 integers, how much is added to one side of the output,
            less than the strides; None is as little as fits.
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        dilation_rate: Integer or 2 integers, the distance of the points that a kernel
            reads; other than 1 only with strides of 1.
        activation: The name of an activation of this package or of Keras, or a function.
            None is the identity.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the kernel, or None.
        bias_regularizer: Regularizer of the bias, or None.
        activity_regularizer: Regularizer of the outputs, or None.
        kernel_constraint: Constraint of the kernel, or None.
        bias_constraint: Constraint of the bias, or None.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer raises an error; 0 allows every activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, height, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        `(batch, new_height, new_width, filters)`, likewise.

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.Conv2DTranspose(4, 3, activation="snake")
    >>> layer(keras.Input((8, 8, 2))).shape
    (None, 10, 10, 4)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: str | Callable | None = None,
        use_bias: bool = True,
        kernel_initializer: str | dict | Callable = "glorot_uniform",
        bias_initializer: str | dict | Callable = "zeros",
        kernel_regularizer: str | dict | Callable | None = None,
        bias_regularizer: str | dict | Callable | None = None,
        activity_regularizer: str | dict | Callable | None = None,
        kernel_constraint: str | dict | Callable | None = None,
        bias_constraint: str | dict | Callable | None = None,
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.order = checked_order(self, order, self.activation)


@ordered
class Conv3DTranspose(keras.layers.Conv3DTranspose):
    """A `keras.layers.Conv3DTranspose` that can be differentiated `order` times.

    Args:
        filters: Positive integer, the channels of the output.
        kernel_size: Integer or 3 integers, the size of the kernel.
        strides: Integer or 3 integers, by how much the output is larger.
        padding: "valid" for none, or "same", which pads evenly so that strides of 1 keep
            the size.
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        output_padding: Integer or 3 integers, how much is added to one side of the output,
            less than the strides; None is as little as fits.
        dilation_rate: Integer or 3 integers, the distance of the points that a kernel
            reads; other than 1 only with strides of 1.
        activation: The name of an activation of this package or of Keras, or a function.
            None is the identity.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the kernel, or None.
        bias_regularizer: Regularizer of the bias, or None.
        activity_regularizer: Regularizer of the outputs, or None.
        kernel_constraint: Constraint of the kernel, or None.
        bias_constraint: Constraint of the bias, or None.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer raises an error; 0 allows every activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, depth, height, width, channels)`, or with the channels first if
        `data_format` is "channels_first".

    Output shape:
        `(batch, new_depth, new_height, new_width, filters)`, likewise.

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.Conv3DTranspose(4, 3, activation="snake")
    >>> layer(keras.Input((8, 8, 8, 2))).shape
    (None, 10, 10, 10, 4)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: int | Sequence[int] | None = None,
        dilation_rate: int | Sequence[int] = (1, 1, 1),
        activation: str | Callable | None = None,
        use_bias: bool = True,
        kernel_initializer: str | dict | Callable = "glorot_uniform",
        bias_initializer: str | dict | Callable = "zeros",
        kernel_regularizer: str | dict | Callable | None = None,
        bias_regularizer: str | dict | Callable | None = None,
        activity_regularizer: str | dict | Callable | None = None,
        kernel_constraint: str | dict | Callable | None = None,
        bias_constraint: str | dict | Callable | None = None,
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.order = checked_order(self, order, self.activation)
