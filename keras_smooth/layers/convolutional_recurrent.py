"""Convolutional recurrent layers with an order.

Written by tools/write_layers.py for the signatures of Keras 3.15: change that, not this.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_smooth.layers.arguments import keras_arguments
from keras_smooth.layers.order import checked_order
from keras_smooth.layers.table import ordered


@ordered
class ConvLSTM1D(keras.layers.ConvLSTM1D):
    """A `keras.layers.ConvLSTM1D` that can be differentiated `order` times.

    Args:
        filters: Positive integer, the channels of the output.
        kernel_size: Integer, the size of the kernel.
        strides: Integer, the step from one window to the next.
        padding: "valid" for none, or "same", which pads evenly so that strides of 1 keep
            the size.
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        dilation_rate: Integer, the distance of the points that a kernel reads; other than 1
            only with strides of 1.
        activation: The name of an activation of this package or of Keras, or a function.
            None is the identity.
        recurrent_activation: The activation of the gates, given as `activation` is.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of the kernel.
        recurrent_initializer: Initializer of the recurrent kernel, which acts on the state.
        bias_initializer: Initializer of the bias.
        unit_forget_bias: Whether the bias of the forget gate begins at 1.
        kernel_regularizer: Regularizer of the kernel, or None.
        recurrent_regularizer: Regularizer of the recurrent kernel, or None.
        bias_regularizer: Regularizer of the bias, or None.
        activity_regularizer: Regularizer of the outputs, or None.
        kernel_constraint: Constraint of the kernel, or None.
        recurrent_constraint: Constraint of the recurrent kernel, or None.
        bias_constraint: Constraint of the bias, or None.
        dropout: Share between 0 and 1 of the units that is dropped for the linear
            transformation of the inputs.
        recurrent_dropout: Share between 0 and 1 of the units that is dropped for the linear
            transformation of the state.
        seed: Integer, the seed of the dropout.
        return_sequences: Whether the output has every step, or the last one only.
        return_state: Whether to return the last state with the output.
        go_backwards: Whether the sequence is read from its end, and returned reversed.
        stateful: Whether a batch begins with the state that the last one ended with.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer raises an error; 0 allows every activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, steps, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        `(batch, new_width, filters)`, likewise; with `return_sequences` the steps come
        after the batch.

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.ConvLSTM1D(4, 3, activation="snake")
    >>> layer(keras.Input((5, 8, 2))).shape
    (None, 6, 4)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable | None = "tanh",
        recurrent_activation: str | Callable | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | dict | Callable = "glorot_uniform",
        recurrent_initializer: str | dict | Callable = "orthogonal",
        bias_initializer: str | dict | Callable = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: str | dict | Callable | None = None,
        recurrent_regularizer: str | dict | Callable | None = None,
        bias_regularizer: str | dict | Callable | None = None,
        activity_regularizer: str | dict | Callable | None = None,
        kernel_constraint: str | dict | Callable | None = None,
        recurrent_constraint: str | dict | Callable | None = None,
        bias_constraint: str | dict | Callable | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.order = checked_order(self, order, self.activation, self.recurrent_activation)


@ordered
class ConvLSTM2D(keras.layers.ConvLSTM2D):
    """A `keras.layers.ConvLSTM2D` that can be differentiated `order` times.

    Args:
        filters: Positive integer, the channels of the output.
        kernel_size: Integer or 2 integers, the size of the kernel.
        strides: Integer or 2 integers, the step from one window to the next.
        padding: "valid" for none, or "same", which pads evenly so that strides of 1 keep
            the size.
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        dilation_rate: Integer or 2 integers, the distance of the points that a kernel
            reads; other than 1 only with strides of 1.
        activation: The name of an activation of this package or of Keras, or a function.
            None is the identity.
        recurrent_activation: The activation of the gates, given as `activation` is.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of the kernel.
        recurrent_initializer: Initializer of the recurrent kernel, which acts on the state.
        bias_initializer: Initializer of the bias.
        unit_forget_bias: Whether the bias of the forget gate begins at 1.
        kernel_regularizer: Regularizer of the kernel, or None.
        recurrent_regularizer: Regularizer of the recurrent kernel, or None.
        bias_regularizer: Regularizer of the bias, or None.
        activity_regularizer: Regularizer of the outputs, or None.
        kernel_constraint: Constraint of the kernel, or None.
        recurrent_constraint: Constraint of the recurrent kernel, or None.
        bias_constraint: Constraint of the bias, or None.
        dropout: Share between 0 and 1 of the units that is dropped for the linear
            transformation of the inputs.
        recurrent_dropout: Share between 0 and 1 of the units that is dropped for the linear
            transformation of the state.
        seed: Integer, the seed of the dropout.
        return_sequences: Whether the output has every step, or the last one only.
        return_state: Whether to return the last state with the output.
        go_backwards: Whether the sequence is read from its end, and returned reversed.
        stateful: Whether a batch begins with the state that the last one ended with.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer raises an error; 0 allows every activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, steps, height, width, channels)`, or with the channels first if
        `data_format` is "channels_first".

    Output shape:
        `(batch, new_height, new_width, filters)`, likewise; with `return_sequences` the
        steps come after the batch.

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.ConvLSTM2D(4, 3, activation="snake")
    >>> layer(keras.Input((5, 8, 8, 2))).shape
    (None, 6, 6, 4)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable | None = "tanh",
        recurrent_activation: str | Callable | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | dict | Callable = "glorot_uniform",
        recurrent_initializer: str | dict | Callable = "orthogonal",
        bias_initializer: str | dict | Callable = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: str | dict | Callable | None = None,
        recurrent_regularizer: str | dict | Callable | None = None,
        bias_regularizer: str | dict | Callable | None = None,
        activity_regularizer: str | dict | Callable | None = None,
        kernel_constraint: str | dict | Callable | None = None,
        recurrent_constraint: str | dict | Callable | None = None,
        bias_constraint: str | dict | Callable | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.order = checked_order(self, order, self.activation, self.recurrent_activation)


@ordered
class ConvLSTM3D(keras.layers.ConvLSTM3D):
    """A `keras.layers.ConvLSTM3D` that can be differentiated `order` times.

    Args:
        filters: Positive integer, the channels of the output.
        kernel_size: Integer or 3 integers, the size of the kernel.
        strides: Integer or 3 integers, the step from one window to the next.
        padding: "valid" for none, or "same", which pads evenly so that strides of 1 keep
            the size.
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        dilation_rate: Integer or 3 integers, the distance of the points that a kernel
            reads; other than 1 only with strides of 1.
        activation: The name of an activation of this package or of Keras, or a function.
            None is the identity.
        recurrent_activation: The activation of the gates, given as `activation` is.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of the kernel.
        recurrent_initializer: Initializer of the recurrent kernel, which acts on the state.
        bias_initializer: Initializer of the bias.
        unit_forget_bias: Whether the bias of the forget gate begins at 1.
        kernel_regularizer: Regularizer of the kernel, or None.
        recurrent_regularizer: Regularizer of the recurrent kernel, or None.
        bias_regularizer: Regularizer of the bias, or None.
        activity_regularizer: Regularizer of the outputs, or None.
        kernel_constraint: Constraint of the kernel, or None.
        recurrent_constraint: Constraint of the recurrent kernel, or None.
        bias_constraint: Constraint of the bias, or None.
        dropout: Share between 0 and 1 of the units that is dropped for the linear
            transformation of the inputs.
        recurrent_dropout: Share between 0 and 1 of the units that is dropped for the linear
            transformation of the state.
        seed: Integer, the seed of the dropout.
        return_sequences: Whether the output has every step, or the last one only.
        return_state: Whether to return the last state with the output.
        go_backwards: Whether the sequence is read from its end, and returned reversed.
        stateful: Whether a batch begins with the state that the last one ended with.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer raises an error; 0 allows every activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, steps, depth, height, width, channels)`, or with the channels first if
        `data_format` is "channels_first".

    Output shape:
        `(batch, new_depth, new_height, new_width, filters)`, likewise; with
        `return_sequences` the steps come after the batch.

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.ConvLSTM3D(4, 3, activation="snake")
    >>> layer(keras.Input((5, 8, 8, 8, 2))).shape
    (None, 6, 6, 6, 4)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable | None = "tanh",
        recurrent_activation: str | Callable | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | dict | Callable = "glorot_uniform",
        recurrent_initializer: str | dict | Callable = "orthogonal",
        bias_initializer: str | dict | Callable = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: str | dict | Callable | None = None,
        recurrent_regularizer: str | dict | Callable | None = None,
        bias_regularizer: str | dict | Callable | None = None,
        activity_regularizer: str | dict | Callable | None = None,
        kernel_constraint: str | dict | Callable | None = None,
        recurrent_constraint: str | dict | Callable | None = None,
        bias_constraint: str | dict | Callable | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.order = checked_order(self, order, self.activation, self.recurrent_activation)
