"""Drop-in subclasses of Keras layers with an order, exact derivatives, or a smooth formula.

table.py         the decorators that register a class, and the tables of registered classes
construction.py  the constructor, also with an older Keras, and the check of activations
dense.py, activation.py                         layers with an order
normalization.py, interpolation.py, random_geometry.py, random_color.py
                                                exact layers: Keras' outputs, right derivatives
sampling.py                                     the sampling of images of random_geometry.py
smooth_maximum.py                               the functions of the smooth forms
written/                                        layers with an order and smooth forms that
                                                tools/write_layers.py writes
"""

from keras_smooth.layers.activation import Activation
from keras_smooth.layers.dense import Dense
from keras_smooth.layers.interpolation import Resizing, UpSampling2D
from keras_smooth.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    UnitNormalization,
)
from keras_smooth.layers.random_color import RandomHue, RandomSaturation
from keras_smooth.layers.random_geometry import (
    RandomPerspective,
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
)
from keras_smooth.layers.table import (
    EXACT_FORMS,
    ORDERED_FORMS,
    SMOOTH_FORMS,
    exact_form,
)
from keras_smooth.layers.written.convolution import Conv1D, Conv2D, Conv3D
from keras_smooth.layers.written.convolutional_recurrent import (
    ConvLSTM1D,
    ConvLSTM2D,
    ConvLSTM3D,
)
from keras_smooth.layers.written.depthwise_convolution import (
    DepthwiseConv1D,
    DepthwiseConv2D,
)
from keras_smooth.layers.written.einsum_dense import EinsumDense
from keras_smooth.layers.written.recurrent import GRU, LSTM, SimpleRNN
from keras_smooth.layers.written.separable_convolution import (
    SeparableConv1D,
    SeparableConv2D,
)
from keras_smooth.layers.written.smooth_merging import SmoothMaximum, SmoothMinimum
from keras_smooth.layers.written.smooth_pooling import (
    SmoothGlobalMaxPooling1D,
    SmoothGlobalMaxPooling2D,
    SmoothGlobalMaxPooling3D,
    SmoothMaxPooling1D,
    SmoothMaxPooling2D,
    SmoothMaxPooling3D,
)
from keras_smooth.layers.written.smooth_prelu import SmoothPReLU
from keras_smooth.layers.written.transposed_convolution import (
    Conv1DTranspose,
    Conv2DTranspose,
    Conv3DTranspose,
)

__all__ = [
    "Activation",
    "BatchNormalization",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "EinsumDense",
    "GRU",
    "GroupNormalization",
    "LSTM",
    "LayerNormalization",
    "RandomHue",
    "RandomPerspective",
    "RandomRotation",
    "RandomSaturation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Resizing",
    "SeparableConv1D",
    "SeparableConv2D",
    "SimpleRNN",
    "SmoothGlobalMaxPooling1D",
    "SmoothGlobalMaxPooling2D",
    "SmoothGlobalMaxPooling3D",
    "SmoothMaxPooling1D",
    "SmoothMaxPooling2D",
    "SmoothMaxPooling3D",
    "SmoothMaximum",
    "SmoothMinimum",
    "SmoothPReLU",
    "UnitNormalization",
    "UpSampling2D",
]
