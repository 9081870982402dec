"""Dense with an order and a start that suits its activation."""

from collections.abc import Callable

import keras

from keras_smooth import activations, initializers, registry
from keras_smooth.layers.order import checked_order


@keras.saving.register_keras_serializable(package="keras_smooth")
class Dense(keras.layers.Dense):
    """A `keras.layers.Dense` that can be differentiated `order` times.

    Args:
        units: Positive integer, dimension of the output.
        activation: The name of an activation of this package or of Keras, or a
            function. None is the identity.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of the kernel. None, the default, is the start of
            `keras_smooth.initializers` that suits the activation.
        order: How many derivatives with respect to the inputs will be taken. An
            activation less smooth than that raises; 0 allows every activation.
        **kwargs: The other arguments of `keras.layers.Dense`.

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
        kernel_initializer: str | keras.initializers.Initializer | None = None,
        *args,
        order: int = 2,
        **kwargs,
    ):
        activation = activations.get(activation)
        if kernel_initializer is None:
            kernel_initializer = initializers.default(activation)
        super().__init__(units, activation, use_bias, kernel_initializer, *args, **kwargs)
        self.order = checked_order(self, activation, order)

    def get_config(self) -> dict:
        return {**super().get_config(), "order": self.order}


registry.register_smoothness(Dense, registry.of_activation)
