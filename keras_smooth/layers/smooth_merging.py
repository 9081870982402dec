"""Smooth forms of the largest and smallest of several tensors.

Written by tools/write_layers.py for the signatures of Keras 3.15: change that, not this.
"""

from typing import Any

import keras

from keras_smooth.layers.arguments import keras_arguments
from keras_smooth.layers.smooth_maximum import checked_sharpness, largest, smallest
from keras_smooth.layers.table import smooth


@smooth
class SmoothMaximum(keras.layers.Maximum):
    """A smooth `keras.layers.Maximum`.

    It computes log(sum(exp(sharpness x))) / sharpness. Arguments, weights and shapes are
    those of Keras' layer. Outputs lie above those of n values by log(n) / sharpness at
    most. Masks are handed on and do not change the values.

    Args:
        sharpness: Positive number; the larger, the closer to Keras' layer.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        A list of at least two tensors whose shapes are equal or can be broadcast.

    Output shape:
        The shape of their sum.

    Raises:
        ValueError: If `sharpness` is not positive.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.SmoothMaximum(sharpness=20.0)
    >>> layer([keras.Input((4,)), keras.Input((4,))]).shape
    (None, 4)

    References:
        Boyd and Vandenberghe, 2004, "Convex optimization", section 3.1.5.
    """

    def __init__(
        self,
        *,
        sharpness: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.sharpness = checked_sharpness(self, sharpness)

    call = largest


@smooth
class SmoothMinimum(keras.layers.Minimum):
    """A smooth `keras.layers.Minimum`.

    It computes -log(sum(exp(-sharpness x))) / sharpness. Arguments, weights and shapes are
    those of Keras' layer. Outputs lie below those of n values by log(n) / sharpness at
    most. Masks are handed on and do not change the values.

    Args:
        sharpness: Positive number; the larger, the closer to Keras' layer.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        A list of at least two tensors whose shapes are equal or can be broadcast.

    Output shape:
        The shape of their sum.

    Raises:
        ValueError: If `sharpness` is not positive.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.SmoothMinimum(sharpness=20.0)
    >>> layer([keras.Input((4,)), keras.Input((4,))]).shape
    (None, 4)

    References:
        Boyd and Vandenberghe, 2004, "Convex optimization", section 3.1.5.
    """

    def __init__(
        self,
        *,
        sharpness: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.sharpness = checked_sharpness(self, sharpness)

    call = smallest
