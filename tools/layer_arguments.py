"""Descriptions and types of the arguments of Keras' layers, shared by all layers."""

import keras

_ACTIVATION = (
    "The name of an activation of this package or of Keras, or a function. None is the "
    "identity."
)
_FORMAT = (
    '"channels_last" or "channels_first", the order of the axes in the inputs. None is '
    "`keras.config.image_data_format()`."
)
_DROPPED = (
    "Float between 0 and 1, the fraction of the units to drop in the transformation of the"
)

_TEXTS = {
    "activation": _ACTIVATION,
    "activity_regularizer": "Regularizer of the outputs, or None.",
    "alpha_constraint": "Constraint of the slopes, or None.",
    "alpha_initializer": "Initializer of the slopes for negative inputs.",
    "alpha_regularizer": "Regularizer of the slopes, or None.",
    "antialias": "Whether to use an antialiasing filter when images are made smaller.",
    "axis": "Integer or list of integers, the axes to normalize.",
    "beta_constraint": "Constraint of the offset, or None.",
    "beta_initializer": "Initializer of the offset.",
    "beta_regularizer": "Regularizer of the offset, or None.",
    "bias_axes": 'Axes of the output in `equation` that the bias has, such as "c"; None for '
    "no bias.",
    "bias_constraint": "Constraint of the bias, or None.",
    "bias_initializer": "Initializer of the bias.",
    "bias_regularizer": "Regularizer of the bias, or None.",
    "center": "Whether to add a trainable offset beta.",
    "crop_to_aspect_ratio": "Whether images of another aspect ratio are cropped instead of "
    "distorted.",
    "data_format": _FORMAT,
    "depth_multiplier": "Number of outputs of the depthwise convolution for each channel.",
    "depthwise_constraint": "Constraint of the depthwise kernel, or None.",
    "depthwise_initializer": "Initializer of the depthwise kernel.",
    "depthwise_regularizer": "Regularizer of the depthwise kernel, or None.",
    "dilation_rate": "{sizes}, the dilation rate of the convolution; other than 1 only with "
    "strides of 1.",
    "dropout": f"{_DROPPED} inputs.",
    "epsilon": "Small positive number, which is added to the variance.",
    "equation": 'The einsum equation of input, kernel and output, such as "ab,bc->ac".',
    "fill_mode": 'How points outside of the image are filled; only "constant" is possible.',
    "fill_value": "The value of points outside of the image.",
    "filters": "Positive integer, the number of output channels.",
    "gamma_constraint": "Constraint of the scale, or None.",
    "gamma_initializer": "Initializer of the scale.",
    "gamma_regularizer": "Regularizer of the scale, or None.",
    "go_backwards": "Whether to process the input sequence backwards and return the "
    "reversed sequence.",
    "gptq_unpacked_column_size": "Number of columns of the kernel before 4-bit packing, for "
    "kernels quantized by GPTQ, or None.",
    "groups": "Positive integer, the number of groups of the channels; each is convolved "
    "with its own filters.",
    "height": "Positive integer, the height of the output.",
    "interpolation": 'The interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or '
    '"lanczos5".',
    "keepdims": "Whether to keep the spatial axes with size 1.",
    "kernel_constraint": "Constraint of the kernel, or None.",
    "kernel_initializer": "Initializer of the kernel.",
    "kernel_regularizer": "Regularizer of the kernel, or None.",
    "kernel_size": "{sizes}, the size of the kernel.",
    "lora_alpha": "Number; the low-rank update is scaled by `lora_alpha / lora_rank`. None is "
    "`lora_rank`.",
    "lora_rank": "Rank of a low-rank update (LoRA) that is trained instead of the "
    "kernel; None for no update.",
    "momentum": "Number between 0 and 1, the momentum of the moving averages.",
    "moving_mean_initializer": "Initializer of the moving average of the mean.",
    "moving_variance_initializer": "Initializer of the moving average of the variance.",
    "name": "The name of the layer.",
    "output_padding": "{sizes}, the padding of the output, which is less than the strides; "
    "None is inferred from the other arguments.",
    "output_shape": "The shape of the output without the batch, as an integer or a tuple; "
    "None for a size that is inferred from the input.",
    "pad_to_aspect_ratio": "Whether images of another aspect ratio are padded instead of "
    "distorted.",
    "padding": '"valid" for no padding, or "same" for even padding, so that strides of 1 '
    "keep the size.",
    "pointwise_constraint": "Constraint of the pointwise kernel, or None.",
    "pointwise_initializer": "Initializer of the pointwise kernel.",
    "pointwise_regularizer": "Regularizer of the pointwise kernel, or None.",
    "pool_size": "{sizes}, the size of the windows.",
    "quantization_config": "A `keras.quantizers.QuantizationConfig`, or None.",
    "recurrent_activation": "The activation of the gates, given like `activation`.",
    "recurrent_constraint": "Constraint of the recurrent kernel, or None.",
    "recurrent_dropout": f"{_DROPPED} recurrent state.",
    "recurrent_initializer": "Initializer of the recurrent kernel, which acts on the state.",
    "recurrent_regularizer": "Regularizer of the recurrent kernel, or None.",
    "renorm": "Whether to use batch renormalization; True raises an error.",
    "renorm_clipping": "As in Keras; without effect.",
    "renorm_momentum": "As in Keras; without effect.",
    "reset_after": "Whether to apply the reset gate after the multiplication by the recurrent "
    "kernel, as cuDNN does, or before it.",
    "return_sequences": "Whether to return the output of every step, or only the last one.",
    "return_state": "Whether to return the last state with the output.",
    "scale": "Whether to multiply by a trainable scale gamma.",
    "seed": "Integer, the seed of the dropout.",
    "shared_axes": "Axes of the input that share their slopes, such as [1, 2] for images of "
    "(height, width, channels), or None.",
    "size": "Integer or 2 integers, the upsampling factors of height and width.",
    "stateful": "Whether the last state of a batch is the initial state of the next batch.",
    "strides": "{sizes}, the strides of the kernel.",
    "synchronized": "Whether to compute moments over all replicas; True raises an error.",
    "unit_forget_bias": "Whether to initialize the bias of the forget gate with 1.",
    "units": "Positive integer, dimension of the output.",
    "unroll": "Whether to unroll the loop over the steps, which is faster for short "
    "sequences and uses more memory.",
    "use_bias": "Whether to use a bias.",
    "use_cudnn": 'Whether to use cuDNN on GPUs; "auto" uses it if possible.',
    "width": "Positive integer, the width of the output.",
}
# Descriptions of arguments that have another meaning in some layers.
_OWN_TEXTS = {
    ("Conv1DTranspose", "strides"): "{sizes}, the factors by which the output is larger.",
    ("Conv2DTranspose", "strides"): "{sizes}, the factors by which the output is larger.",
    ("Conv3DTranspose", "strides"): "{sizes}, the factors by which the output is larger.",
    ("MaxPooling1D", "strides"): "{sizes}; None is `pool_size`.",
    ("MaxPooling2D", "strides"): "{sizes}; None is `pool_size`.",
    ("MaxPooling3D", "strides"): "{sizes}; None is `pool_size`.",
}


def text(layer: str, argument: str) -> str:
    """Returns the description of an argument of a layer.

    Args:
        layer: Name of a layer of Keras.
        argument: Name of one of its arguments.

    Raises:
        KeyError: If the argument has no description yet.
    """
    dims = next((int(letter) for letter in layer if letter.isdigit()), 0)
    sizes = "Integer" if dims == 1 else f"Integer or {dims} integers"
    description = _OWN_TEXTS.get((layer, argument)) or _TEXTS[argument]
    return description.replace("{sizes}", sizes)


# The types of arguments, by the ends of their names. If the default is a bool, so is the type.
_FUNCTION, _SIZES = "str | dict | Callable", "int | Sequence[int]"
_TYPES = {
    "_initializer": _FUNCTION,
    "_regularizer": _FUNCTION,
    "_constraint": _FUNCTION,
    "activation": "str | Callable | None",
    "kernel_size": _SIZES,
    "pool_size": _SIZES,
    "strides": _SIZES,
    "dilation_rate": _SIZES,
    "output_padding": _SIZES,
    "output_shape": "int | Sequence[int | None]",
    "shared_axes": "Sequence[int]",
    "use_cudnn": "bool | str",
    "quantization_config": "Any",
    **dict.fromkeys(("dropout", "lora_alpha"), "float"),
    **dict.fromkeys(("bias_axes", "data_format", "equation", "name", "padding"), "str"),
    **dict.fromkeys(("column_size", "depth_multiplier", "filters", "groups"), "int"),
    **dict.fromkeys(("lora_rank", "seed", "units"), "int"),
}


def annotation(argument: str, default: object) -> str:
    """Returns the type of an argument, as text for a signature.

    Raises:
        StopIteration: If the argument has no type yet.
    """
    if isinstance(default, bool):
        return "bool"
    kind = next(kind for end, kind in _TYPES.items() if argument.endswith(end))
    takes_none = kind == "Any" or kind.endswith("None")
    return kind if takes_none or default is not None else f"{kind} | None"


def keras_version() -> str:
    """Returns the minor version of the installed Keras, as "3.15"."""
    return ".".join(keras.__version__.split(".")[:2])
