"""Keras' Activation layer with an order."""

from typing import Any

import keras

from keras_smooth.layers.construction import construct
from keras_smooth.layers.table import ordered


@ordered
class Activation(keras.layers.Activation):
    """Applies an activation that can be differentiated `order` times.

    Args:
        activation: The name of an activation of this package or of Keras, or a function.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer derivatives raises an error; 0 allows any activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        Any.

    Output shape:
        That of the input.

    Raises:
        ValueError: If the activation is unknown or less smooth than `order`.

    Example:

    >>> import keras_smooth
    >>> layer = keras_smooth.Activation("snake")
    >>> layer.order
    2
    """

    def __init__(self, activation: Any, *, order: int = 2, **kwargs: Any) -> None:
        construct(super(), locals())
