"""The replacement of a Lambda layer."""

from typing import Any

import keras

from keras_smooth import layers


@keras.saving.register_keras_serializable(package="keras_smooth")
class LambdaForm(layers.Activation):
    """An activation layer that, like a Lambda, accepts a mask but does not return one.

    Args:
        activation: A function.
        **kwargs: Arguments of `keras_smooth.Activation`.
    """

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(activation, **kwargs)
        self.supports_masking = False

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return self.activation(inputs)
