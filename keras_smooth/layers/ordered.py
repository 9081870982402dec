"""Keras' layers that have an activation, each with an order that is checked."""

import inspect

import keras

from keras_smooth import activations, registry
from keras_smooth.layers.order import checked_order

# Class of Keras and its arguments that are activations.
TABLE = {
    **dict.fromkeys(
        (
            "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D",
            "Conv3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D", "EinsumDense",
            "SeparableConv1D", "SeparableConv2D", "SimpleRNN",
        ),
        ("activation",),
    ),
    **dict.fromkeys(
        ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM"),
        ("activation", "recurrent_activation"),
    ),
}  # fmt: skip

_DOC = """A `keras.layers.{name}` that can be differentiated `order` times.

    Args:
        *args: Arguments of `keras.layers.{name}`. An activation may also be named as in
            `keras_smooth.activations`.
        order: How many derivatives with respect to the inputs will be taken. An
            activation less smooth than that raises; 0 allows every activation.
        **kwargs: Its keyword arguments.

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras_smooth
    >>> keras_smooth.layers.{name}({example}).order
    2
    """
_EXAMPLES = {
    "EinsumDense": '"ab,bc->ac", 4', "DepthwiseConv1D": "3", "DepthwiseConv2D": "3",
    "GRU": "4", "LSTM": "4", "SimpleRNN": "4",
}  # fmt: skip


class _Ordered:
    """Finds activations by name and checks them against the order."""

    def __init__(self, *args, order: int = 2, **kwargs):
        bound = inspect.signature(super().__init__).bind(*args, **kwargs)
        for key in set(self._activations) & set(bound.arguments):
            bound.arguments[key] = activations.get(bound.arguments[key])
        super().__init__(*bound.args, **bound.kwargs)
        for key in self._activations:
            self.order = checked_order(self, getattr(self, key), order)

    def get_config(self) -> dict:
        return {**super().get_config(), "order": self.order}


def _ordered(name: str, keys: tuple[str, ...]) -> type:
    """Returns the subclass of one layer, registered for saving and with its smoothness."""
    stock = getattr(keras.layers, name)
    doc = _DOC.format(name=name, example=_EXAMPLES.get(name, "4, 3"))
    members = {"__doc__": doc, "__module__": __name__, "_activations": keys}
    made = type(name, (_Ordered, stock), members)
    keras.saving.register_keras_serializable(package="keras_smooth")(made)
    registry.register_smoothness(made, registry.row(stock).smoothness)
    return made


ORDERED = {name: _ordered(name, keys) for name, keys in TABLE.items()}
globals().update(ORDERED)
