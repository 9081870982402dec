"""Dense with an order, and with an initializer for its activation."""

from collections.abc import Callable
from typing import Any

import keras

from keras_smooth import activations, initializers
from keras_smooth.checks import whole_number
from keras_smooth.layers.construction import construct
from keras_smooth.layers.table import ordered


@ordered
class Dense(keras.layers.Dense):
    """A `keras.layers.Dense` that can be differentiated `order` times.

    Args:
        units: Positive integer, dimension of the output.
        activation: The name of an activation of this package or of Keras, or a
            function. None is the identity.
        use_bias: Whether to use a bias.
        kernel_initializer: Initializer of the kernel. None, the default, is
            `keras_smooth.initializers.GainScaling` for the activation.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the kernel, or None.
        bias_regularizer: Regularizer of the bias, or None.
        activity_regularizer: Regularizer of the outputs, or None.
        kernel_constraint: Constraint of the kernel, or None.
        bias_constraint: Constraint of the bias, or None.
        lora_rank: Rank of a low-rank update (LoRA) that is trained instead of the
            kernel; None for no update.
        lora_alpha: Number; the low-rank update is scaled by `lora_alpha / lora_rank`. None
            is `lora_rank`.
        quantization_config: A `keras.quantizers.QuantizationConfig`, or None.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer derivatives raises an error; 0 allows any activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If the activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> model = keras.Sequential([keras.Input((1,))])
    >>> model.add(keras_smooth.Dense(20, activation="tanh"))
    >>> model.add(keras_smooth.Dense(1))
    >>> keras_smooth.smoothness(model)
    inf
    >>> keras_smooth.Dense(20, activation="relu")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: Dense received activation='relu', which is of class C^0, but ...
    """

    def __init__(
        self,
        units: int,
        activation: str | Callable | None = None,
        use_bias: bool = True,
        kernel_initializer: str | dict | Callable | None = None,
        bias_initializer: str | dict | Callable = "zeros",
        kernel_regularizer: str | dict | Callable | None = None,
        bias_regularizer: str | dict | Callable | None = None,
        activity_regularizer: str | dict | Callable | None = None,
        kernel_constraint: str | dict | Callable | None = None,
        bias_constraint: str | dict | Callable | None = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        units = whole_number("`units`", units, 1)
        if kernel_initializer is None:
            kernel_initializer = initializers.default(activations.get(activation))
        construct(super(), locals())
