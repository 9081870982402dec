"""EinsumDense with an order.

Written by tools/write_layers.py for the signatures of Keras 3.15: change that, not this.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_smooth.layers.arguments import keras_arguments
from keras_smooth.layers.order import checked_order
from keras_smooth.layers.table import ordered


@ordered
class EinsumDense(keras.layers.EinsumDense):
    """A `keras.layers.EinsumDense` that can be differentiated `order` times.

    Args:
        equation: The product in Einstein's notation, as "ab,bc->ac": the input, the kernel,
            the output.
        output_shape: The shape of the output without the batch, as an integer or a tuple;
            None for a size that is read off the input.
        activation: The name of an activation of this package or of Keras, or a function.
            None is the identity.
        bias_axes: Letters of the output in `equation` that the bias has, as "c"; None for
            no bias.
        kernel_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the kernel, or None.
        bias_regularizer: Regularizer of the bias, or None.
        kernel_constraint: Constraint of the kernel, or None.
        bias_constraint: Constraint of the bias, or None.
        lora_rank: Rank of a low-rank update (LoRA) that is trained instead of the kernel;
            None for no update.
        lora_alpha: Number by which the low-rank update is multiplied, over its rank; None
            is `lora_rank`.
        gptq_unpacked_column_size: Columns of the kernel before 4-bit packing, for kernels
            quantized by GPTQ; None else.
        quantization_config: A `keras.quantizers.QuantizationConfig`, or None.
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer raises an error; 0 allows every activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
        That of the first term of `equation`.

    Output shape:
        That of the result of `equation`.

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.EinsumDense("abc,cd->abd", (None, 4), activation="snake")
    >>> layer(keras.Input((5, 2))).shape
    (None, None, 4)
    """

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: str | Callable | None = None,
        bias_axes: str | None = None,
        kernel_initializer: str | dict | Callable = "glorot_uniform",
        bias_initializer: str | dict | Callable = "zeros",
        kernel_regularizer: str | dict | Callable | None = None,
        bias_regularizer: str | dict | Callable | None = None,
        kernel_constraint: str | dict | Callable | None = None,
        bias_constraint: str | dict | Callable | None = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        gptq_unpacked_column_size: int | None = None,
        quantization_config: Any = None,
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**keras_arguments(locals()))
        self.order = checked_order(self, order, self.activation)
