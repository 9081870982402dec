"""What each argument of Keras' layers is, once for all layers that have it."""

import keras

_ACTIVATION = (
    "The name of an activation of this package or of Keras, or a function. None is the "
    "identity."
)
_FORMAT = (
    '"channels_last" or "channels_first": where the channels are in the shapes. None is '
    "what Keras is set to, `keras.config.image_data_format()`."
)
_DROPPED = "of the units that is dropped for the linear transformation of the"

_TEXTS = {
    "activation": _ACTIVATION,
    "activity_regularizer": "Regularizer of the outputs, or None.",
    "alpha_constraint": "Constraint of the slopes, or None.",
    "alpha_initializer": "Initializer of the slopes for negative inputs.",
    "alpha_regularizer": "Regularizer of the slopes, or None.",
    "antialias": "Whether an image that shrinks is smoothed first.",
    "axis": "Integer or list of integers, the axes that are normalized.",
    "beta_constraint": "Constraint of the offset, or None.",
    "beta_initializer": "Initializer of the offset.",
    "beta_regularizer": "Regularizer of the offset, or None.",
    "bias_axes": 'Letters of the output in `equation` that the bias has, as "c"; None for '
    "no bias.",
    "bias_constraint": "Constraint of the bias, or None.",
    "bias_initializer": "Initializer of the bias.",
    "bias_regularizer": "Regularizer of the bias, or None.",
    "center": "Whether a trained offset beta is added.",
    "crop_to_aspect_ratio": "Whether an image of another aspect ratio is cropped instead of "
    "distorted.",
    "data_format": _FORMAT,
    "depth_multiplier": "How many outputs the depthwise step makes of each channel.",
    "depthwise_constraint": "Constraint of the depthwise kernel, or None.",
    "depthwise_initializer": "Initializer of the depthwise kernel.",
    "depthwise_regularizer": "Regularizer of the depthwise kernel, or None.",
    "dilation_rate": "{sizes}, the distance of the points that a kernel reads; other than 1 "
    "only with strides of 1.",
    "dropout": f"Share between 0 and 1 {_DROPPED} inputs.",
    "epsilon": "Positive number that is added to the variance.",
    "equation": 'The product in Einstein\'s notation, as "ab,bc->ac": the input, the kernel, '
    "the output.",
    "fill_mode": 'What the image is padded with; "constant" is the only one.',
    "fill_value": "The value of the padding.",
    "filters": "Positive integer, the channels of the output.",
    "gamma_constraint": "Constraint of the scale, or None.",
    "gamma_initializer": "Initializer of the scale.",
    "gamma_regularizer": "Regularizer of the scale, or None.",
    "go_backwards": "Whether the sequence is read from its end, and returned reversed.",
    "gptq_unpacked_column_size": "Columns of the kernel before 4-bit packing, for kernels "
    "quantized by GPTQ; None else.",
    "groups": "Positive integer, the groups into which the channels are split; each is "
    "convolved with its own filters.",
    "height": "Positive integer, the height of the output.",
    "interpolation": 'The interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or '
    '"lanczos5".',
    "keepdims": "Whether the axes of space stay, with size 1.",
    "kernel_constraint": "Constraint of the kernel, or None.",
    "kernel_initializer": "Initializer of the kernel.",
    "kernel_regularizer": "Regularizer of the kernel, or None.",
    "kernel_size": "{sizes}, the size of the kernel.",
    "lora_alpha": "Number by which the low-rank update is multiplied, over its rank; None "
    "is `lora_rank`.",
    "lora_rank": "Rank of a low-rank update (LoRA) that is trained instead of the "
    "kernel; None for no update.",
    "momentum": "Number between 0 and 1, how much of the moving averages a step keeps.",
    "moving_mean_initializer": "Initializer of the moving average of the mean.",
    "moving_variance_initializer": "Initializer of the moving average of the variance.",
    "name": "The name of the layer.",
    "output_padding": "{sizes}, how much is added to one side of the output, less than the "
    "strides; None is as little as fits.",
    "output_shape": "The shape of the output without the batch, as an integer or a tuple; "
    "None for a size that is read off the input.",
    "pad_to_aspect_ratio": "Whether an image of another aspect ratio is padded instead of "
    "distorted.",
    "padding": '"valid" for none, or "same", which pads evenly so that strides of 1 keep '
    "the size.",
    "pointwise_constraint": "Constraint of the pointwise kernel, or None.",
    "pointwise_initializer": "Initializer of the pointwise kernel.",
    "pointwise_regularizer": "Regularizer of the pointwise kernel, or None.",
    "pool_size": "{sizes}, the size of the windows.",
    "quantization_config": "A `keras.quantizers.QuantizationConfig`, or None.",
    "recurrent_activation": "The activation of the gates, given as `activation` is.",
    "recurrent_constraint": "Constraint of the recurrent kernel, or None.",
    "recurrent_dropout": f"Share between 0 and 1 {_DROPPED} state.",
    "recurrent_initializer": "Initializer of the recurrent kernel, which acts on the state.",
    "recurrent_regularizer": "Regularizer of the recurrent kernel, or None.",
    "renorm": "Whether to take batch renormalization; True is refused.",
    "renorm_clipping": "As in Keras; without effect.",
    "renorm_momentum": "As in Keras; without effect.",
    "reset_after": "Whether the reset gate acts after the product with the recurrent "
    "kernel, as in cuDNN, or before it.",
    "return_sequences": "Whether the output has every step, or the last one only.",
    "return_state": "Whether to return the last state with the output.",
    "scale": "Whether the result is multiplied by a trained gamma.",
    "seed": "Integer, the seed of the dropout.",
    "shared_axes": "Axes of the input along which the slopes are the same, as [1, 2] for "
    "images of (height, width, channels); None for none.",
    "size": "Integer or 2 integers, the factors for height and width.",
    "stateful": "Whether a batch begins with the state that the last one ended with.",
    "strides": "{sizes}, the step from one window to the next.",
    "synchronized": "Whether to take moments over all replicas; True is refused.",
    "unit_forget_bias": "Whether the bias of the forget gate begins at 1.",
    "units": "Positive integer, the size of the output.",
    "unroll": "Whether the loop over the steps is unrolled, which is faster for short "
    "sequences and uses more memory.",
    "use_bias": "Whether there is a bias.",
    "use_cudnn": 'Whether cuDNN computes on GPUs; "auto" where it can.',
    "width": "Positive integer, the width of the output.",
}
# Where one of these words means something else.
_OWN_TEXTS = {
    ("Conv1DTranspose", "strides"): "{sizes}, by how much the output is larger.",
    ("Conv2DTranspose", "strides"): "{sizes}, by how much the output is larger.",
    ("Conv3DTranspose", "strides"): "{sizes}, by how much the output is larger.",
    ("MaxPooling1D", "strides"): "{sizes}; None is `pool_size`.",
    ("MaxPooling2D", "strides"): "{sizes}; None is `pool_size`.",
    ("MaxPooling3D", "strides"): "{sizes}; None is `pool_size`.",
}


def text(layer: str, argument: str) -> str:
    """Returns what an argument of a layer is, as a sentence.

    Args:
        layer: Name of a layer of Keras.
        argument: Name of one of its arguments.

    Raises:
        KeyError: If the argument has no text yet.
    """
    dims = next((int(letter) for letter in layer if letter.isdigit()), 0)
    sizes = "Integer" if dims == 1 else f"Integer or {dims} integers"
    found = _OWN_TEXTS.get((layer, argument)) or _TEXTS[argument]
    return found.replace("{sizes}", sizes)


# The types of arguments whose names end so; those with a default of True or False are bool.
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
    """Returns the type of an argument, as it is written in a signature.

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
