"""Drop-in subclasses of Keras layers that know how often they can be differentiated."""

from keras_smooth.layers import interpolation, normalization
from keras_smooth.layers.activation import Activation
from keras_smooth.layers.dense import Dense
from keras_smooth.layers.interpolation import Resizing, UpSampling2D
from keras_smooth.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    UnitNormalization,
)
from keras_smooth.layers.ordered import ORDERED
from keras_smooth.layers.smooth_maximum import SMOOTH

_STAND_INS = {kind.__name__: kind for kind in SMOOTH.values()}
globals().update({**ORDERED, **_STAND_INS})
EXACT = {**normalization.EXACT, **interpolation.EXACT}

__all__ = [
    "Activation",
    "BatchNormalization",
    "Dense",
    "GroupNormalization",
    "LayerNormalization",
    "Resizing",
    "UnitNormalization",
    "UpSampling2D",
    *ORDERED,
    *_STAND_INS,
]


def exact_class(kind: type) -> type:
    """Returns the exact drop-in for a class of Keras layers, or the class itself."""
    return EXACT.get(kind, kind)
