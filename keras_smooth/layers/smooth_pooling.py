"""Smooth forms of the layers that take the largest value of a window.

Written by tools/write_layers.py for the signatures of Keras 3.15: change that, not this.
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_smooth.layers.arguments import keras_arguments
from keras_smooth.layers.smooth_maximum import checked_sharpness, pooled, pooled_globally
from keras_smooth.layers.table import smooth


@smooth
class SmoothMaxPooling1D(keras.layers.MaxPooling1D):
    """A smooth `keras.layers.MaxPooling1D`.

    It computes log(sum(exp(sharpness x))) / sharpness over each window. Arguments, weights
    and shapes are those of Keras' layer. Outputs lie above those of n values by log(n) /
    sharpness at most.

    Args:
        pool_size: Integer, the size of the windows.
        strides: Integer; None is `pool_size`.
        padding: "valid" for none, or "same", which pads evenly so that strides of 1 keep
            the size.
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        name: The name of the layer.
        sharpness: Positive number; the larger, the closer to Keras' layer.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, steps, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        `(batch, new_steps, channels)`, likewise.

    Raises:
        ValueError: If `sharpness` is not positive.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.SmoothMaxPooling1D(sharpness=20.0)
    >>> layer(keras.Input((8, 2))).shape
    (None, 4, 2)

    References:
        Boyd and Vandenberghe, 2004, "Convex optimization", section 3.1.5.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        *,
        sharpness: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.sharpness = checked_sharpness(self, sharpness)

    call = pooled


@smooth
class SmoothMaxPooling2D(keras.layers.MaxPooling2D):
    """A smooth `keras.layers.MaxPooling2D`.

    It computes log(sum(exp(sharpness x))) / sharpness over each window. Arguments, weights
    and shapes are those of Keras' layer. Outputs lie above those of n values by log(n) /
    sharpness at most.

    Args:
        pool_size: Integer or 2 integers, the size of the windows.
        strides: Integer or 2 integers; None is `pool_size`.
        padding: "valid" for none, or "same", which pads evenly so that strides of 1 keep
            the size.
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        name: The name of the layer.
        sharpness: Positive number; the larger, the closer to Keras' layer.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, height, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        `(batch, new_height, new_width, channels)`, likewise.

    Raises:
        ValueError: If `sharpness` is not positive.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.SmoothMaxPooling2D(sharpness=20.0)
    >>> layer(keras.Input((8, 8, 2))).shape
    (None, 4, 4, 2)

    References:
        Boyd and Vandenberghe, 2004, "Convex optimization", section 3.1.5.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = (2, 2),
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        *,
        sharpness: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.sharpness = checked_sharpness(self, sharpness)

    call = pooled


@smooth
class SmoothMaxPooling3D(keras.layers.MaxPooling3D):
    """A smooth `keras.layers.MaxPooling3D`.

    It computes log(sum(exp(sharpness x))) / sharpness over each window. Arguments, weights
    and shapes are those of Keras' layer. Outputs lie above those of n values by log(n) /
    sharpness at most.

    Args:
        pool_size: Integer or 3 integers, the size of the windows.
        strides: Integer or 3 integers; None is `pool_size`.
        padding: "valid" for none, or "same", which pads evenly so that strides of 1 keep
            the size.
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        name: The name of the layer.
        sharpness: Positive number; the larger, the closer to Keras' layer.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, depth, height, width, channels)`, or with the channels first if
        `data_format` is "channels_first".

    Output shape:
        `(batch, new_depth, new_height, new_width, channels)`, likewise.

    Raises:
        ValueError: If `sharpness` is not positive.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.SmoothMaxPooling3D(sharpness=20.0)
    >>> layer(keras.Input((8, 8, 8, 2))).shape
    (None, 4, 4, 4, 2)

    References:
        Boyd and Vandenberghe, 2004, "Convex optimization", section 3.1.5.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = (2, 2, 2),
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        *,
        sharpness: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.sharpness = checked_sharpness(self, sharpness)

    call = pooled


@smooth
class SmoothGlobalMaxPooling1D(keras.layers.GlobalMaxPooling1D):
    """A smooth `keras.layers.GlobalMaxPooling1D`.

    It computes log(sum(exp(sharpness x))) / sharpness over all of space. Arguments, weights
    and shapes are those of Keras' layer. Outputs lie above those of n values by log(n) /
    sharpness at most.

    Args:
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        keepdims: Whether the axes of space stay, with size 1.
        sharpness: Positive number; the larger, the closer to Keras' layer.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, steps, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        `(batch, channels)`; with `keepdims` the axes of space stay, with size 1.

    Raises:
        ValueError: If `sharpness` is not positive.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.SmoothGlobalMaxPooling1D(sharpness=20.0)
    >>> layer(keras.Input((8, 2))).shape
    (None, 2)

    References:
        Boyd and Vandenberghe, 2004, "Convex optimization", section 3.1.5.
    """

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        *,
        sharpness: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.sharpness = checked_sharpness(self, sharpness)

    call = pooled_globally


@smooth
class SmoothGlobalMaxPooling2D(keras.layers.GlobalMaxPooling2D):
    """A smooth `keras.layers.GlobalMaxPooling2D`.

    It computes log(sum(exp(sharpness x))) / sharpness over all of space. Arguments, weights
    and shapes are those of Keras' layer. Outputs lie above those of n values by log(n) /
    sharpness at most.

    Args:
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        keepdims: Whether the axes of space stay, with size 1.
        sharpness: Positive number; the larger, the closer to Keras' layer.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, height, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        `(batch, channels)`; with `keepdims` the axes of space stay, with size 1.

    Raises:
        ValueError: If `sharpness` is not positive.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.SmoothGlobalMaxPooling2D(sharpness=20.0)
    >>> layer(keras.Input((8, 8, 2))).shape
    (None, 2)

    References:
        Boyd and Vandenberghe, 2004, "Convex optimization", section 3.1.5.
    """

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        *,
        sharpness: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.sharpness = checked_sharpness(self, sharpness)

    call = pooled_globally


@smooth
class SmoothGlobalMaxPooling3D(keras.layers.GlobalMaxPooling3D):
    """A smooth `keras.layers.GlobalMaxPooling3D`.

    It computes log(sum(exp(sharpness x))) / sharpness over all of space. Arguments, weights
    and shapes are those of Keras' layer. Outputs lie above those of n values by log(n) /
    sharpness at most.

    Args:
        data_format: "channels_last" or "channels_first": where the channels are in the
            shapes. None is what Keras is set to, `keras.config.image_data_format()`.
        keepdims: Whether the axes of space stay, with size 1.
        sharpness: Positive number; the larger, the closer to Keras' layer.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        `(batch, depth, height, width, channels)`, or with the channels first if
        `data_format` is "channels_first".

    Output shape:
        `(batch, channels)`; with `keepdims` the axes of space stay, with size 1.

    Raises:
        ValueError: If `sharpness` is not positive.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.SmoothGlobalMaxPooling3D(sharpness=20.0)
    >>> layer(keras.Input((8, 8, 8, 2))).shape
    (None, 2)

    References:
        Boyd and Vandenberghe, 2004, "Convex optimization", section 3.1.5.
    """

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        *,
        sharpness: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.sharpness = checked_sharpness(self, sharpness)

    call = pooled_globally
