"""Recurrent layers with an order.

Written by tools/write_layers.py for the signatures of Keras 3.15: change that, not this.
"""

from collections.abc import Callable
from typing import Any

import keras

from keras_smooth.layers.arguments import keras_arguments
from keras_smooth.layers.order import checked_order
from keras_smooth.layers.table import ordered


@ordered
class SimpleRNN(keras.layers.SimpleRNN):
    """A `keras.layers.SimpleRNN` that can be differentiated `order` times.

    Args:
        units: Positive integer, the size of the output.
        activation: The name of an activation of this package or of Keras, or a function.
            None is the identity.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of the kernel.
        recurrent_initializer: Initializer of the recurrent kernel, which acts on the state.
        bias_initializer: Initializer of the bias.
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
        return_sequences: Whether the output has every step, or the last one only.
        return_state: Whether to return the last state with the output.
        go_backwards: Whether the sequence is read from its end, and returned reversed.
        stateful: Whether a batch begins with the state that the last one ended with.
        unroll: Whether the loop over the steps is unrolled, which is faster for short
            sequences and uses more memory.
        seed: Integer, the seed of the dropout.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer raises an error; 0 allows every activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, steps, features)`.

    Output shape:
        `(batch, units)`, with `return_sequences` `(batch, steps, units)`.

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.SimpleRNN(4, activation="snake")
    >>> layer(keras.Input((5, 2))).shape
    (None, 4)
    """

    def __init__(
        self,
        units: int,
        activation: str | Callable | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: str | dict | Callable = "glorot_uniform",
        recurrent_initializer: str | dict | Callable = "orthogonal",
        bias_initializer: str | dict | Callable = "zeros",
        kernel_regularizer: str | dict | Callable | None = None,
        recurrent_regularizer: str | dict | Callable | None = None,
        bias_regularizer: str | dict | Callable | None = None,
        activity_regularizer: str | dict | Callable | None = None,
        kernel_constraint: str | dict | Callable | None = None,
        recurrent_constraint: str | dict | Callable | None = None,
        bias_constraint: str | dict | Callable | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.order = checked_order(self, order, self.activation)


@ordered
class GRU(keras.layers.GRU):
    """A `keras.layers.GRU` that can be differentiated `order` times.

    Args:
        units: Positive integer, the size of the output.
        activation: The name of an activation of this package or of Keras, or a function.
            None is the identity.
        recurrent_activation: The activation of the gates, given as `activation` is.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of the kernel.
        recurrent_initializer: Initializer of the recurrent kernel, which acts on the state.
        bias_initializer: Initializer of the bias.
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
        unroll: Whether the loop over the steps is unrolled, which is faster for short
            sequences and uses more memory.
        reset_after: Whether the reset gate acts after the product with the recurrent
            kernel, as in cuDNN, or before it.
        use_cudnn: Whether cuDNN computes on GPUs; "auto" where it can.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer raises an error; 0 allows every activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, steps, features)`.

    Output shape:
        `(batch, units)`, with `return_sequences` `(batch, steps, units)`.

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.GRU(4, activation="snake")
    >>> layer(keras.Input((5, 2))).shape
    (None, 4)
    """

    def __init__(
        self,
        units: int,
        activation: str | Callable | None = "tanh",
        recurrent_activation: str | Callable | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | dict | Callable = "glorot_uniform",
        recurrent_initializer: str | dict | Callable = "orthogonal",
        bias_initializer: str | dict | Callable = "zeros",
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
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.order = checked_order(self, order, self.activation, self.recurrent_activation)


@ordered
class LSTM(keras.layers.LSTM):
    """A `keras.layers.LSTM` that can be differentiated `order` times.

    Args:
        units: Positive integer, the size of the output.
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
        unroll: Whether the loop over the steps is unrolled, which is faster for short
            sequences and uses more memory.
        use_cudnn: Whether cuDNN computes on GPUs; "auto" where it can.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer raises an error; 0 allows every activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, steps, features)`.

    Output shape:
        `(batch, units)`, with `return_sequences` `(batch, steps, units)`.

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.LSTM(4, activation="snake")
    >>> layer(keras.Input((5, 2))).shape
    (None, 4)
    """

    def __init__(
        self,
        units: int,
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
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.order = checked_order(self, order, self.activation, self.recurrent_activation)
