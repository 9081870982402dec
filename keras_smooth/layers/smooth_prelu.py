"""Smooth form of PReLU.

Written by tools/write_layers.py for the signatures of Keras 3.15: change that, not this.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_smooth.layers.arguments import keras_arguments
from keras_smooth.layers.smooth_maximum import checked_sharpness, ramps
from keras_smooth.layers.table import smooth


@smooth
class SmoothPReLU(keras.layers.PReLU):
    """A smooth `keras.layers.PReLU`.

    It computes softplus(x) - alpha softplus(-x), both with the sharpness. Arguments,
    weights and shapes are those of Keras' layer. At 0 the output lies above by (1 - alpha)
    log(2) / sharpness, elsewhere less.

    Args:
        alpha_initializer: Initializer of the slopes for negative inputs.
        alpha_regularizer: Regularizer of the slopes, or None.
        alpha_constraint: Constraint of the slopes, or None.
        shared_axes: Axes of the input along which the slopes are the same, as [1, 2] for
            images of (height, width, channels); None for none.
        sharpness: Positive number; the larger, the closer to Keras' layer.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        Any.

    Output shape:
        That of the input.

    Raises:
        ValueError: If `sharpness` is not positive.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.SmoothPReLU(sharpness=20.0)
    >>> layer(keras.Input((4,))).shape
    (None, 4)

    References:
        Boyd and Vandenberghe, 2004, "Convex optimization", section 3.1.5.
    """

    def __init__(
        self,
        alpha_initializer: str | dict | Callable = "Zeros",
        alpha_regularizer: str | dict | Callable | None = None,
        alpha_constraint: str | dict | Callable | None = None,
        shared_axes: Sequence[int] | None = None,
        *,
        sharpness: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.sharpness = checked_sharpness(self, sharpness)

    call = ramps
