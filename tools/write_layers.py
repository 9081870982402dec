"""Writes the layers that add one argument to layers of Keras, with Keras' signatures.

    python tools/write_layers.py

Each layer is a class in a file, so that editors, `help` and `inspect.getsource` show its code. The
differences between the layers are in tables here and in `layer_arguments.py`. Run this script after
a change of them, or for a Keras with new arguments.
"""

import dataclasses
import inspect
import textwrap
from pathlib import Path

import keras
from layer_arguments import annotation, keras_version, text

FOLDER = Path(__file__).parents[1] / "keras_smooth" / "layers" / "written"
# The version of Keras whose signatures are in the files.
KERAS = "3.15"
_WIDTH = 92


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer.

    Args:
        name: Name of Keras' layer.
        input_shape: Text about the shape of the input.
        output_shape: Text about the shape of the output.
        arguments: Arguments of the layer in the example.
        example: Shape of a sample of the input in the example.
        formula: Formula of the outputs of a smooth layer.
        bound: Text about the difference from the outputs of Keras' layer.
    """

    name: str
    input_shape: str
    output_shape: str
    arguments: str
    example: str
    formula: str = ""
    bound: str = ""


_SPACE = {1: "steps", 2: "height, width", 3: "depth, height, width"}
_NEW_SPACE = {1: "new_steps", 2: "new_height, new_width",
              3: "new_depth, new_height, new_width"}  # fmt: skip
_SIZES = {1: "8", 2: "8, 8", 3: "8, 8, 8"}
_STEPS = (
    " With `return_sequences=True`, the axis of the steps is added after the batch axis."
)


def _image_shape(space: str, channels: str, leading: str = "batch") -> str:
    """Returns the text about a shape for both values of `data_format`."""
    return (
        f'`({leading}, {space}, {channels})` if `data_format="channels_last"`, '
        f'`({leading}, {channels}, {space})` if `data_format="channels_first"`.'
    )


def _image_layer(name: str, arguments: str, channels: str, **more: str) -> Layer:
    dims = next(int(letter) for letter in name if letter.isdigit())
    return Layer(
        name,
        _image_shape(_SPACE[dims], "channels"),
        _image_shape(_NEW_SPACE[dims], channels),
        arguments,
        f"({_SIZES[dims]}, 2)",
        **more,
    )


def _sequence_layer(name: str) -> Layer:
    return Layer(
        name,
        "`(batch, steps, features)`.",
        "`(batch, units)`, or `(batch, steps, units)` if `return_sequences=True`.",
        '4, activation="snake"',
        "(5, 2)",
    )


def _film_layer(dims: int) -> Layer:
    space, new_space = (
        axes[dims].replace("steps", "width") for axes in (_SPACE, _NEW_SPACE)
    )
    return Layer(
        f"ConvLSTM{dims}D",
        _image_shape(space, "channels", "batch, steps"),
        _image_shape(new_space, "filters") + _STEPS,
        '4, 3, activation="snake"',
        f"(5, {_SIZES[dims]}, 2)",
    )


_FILTERS = '4, 3, activation="snake"'
ORDERED = {
    "convolution": [_image_layer(f"Conv{n}D", _FILTERS, "filters") for n in (1, 2, 3)],
    "transposed_convolution": [
        _image_layer(f"Conv{n}DTranspose", _FILTERS, "filters") for n in (1, 2, 3)
    ],
    "depthwise_convolution": [
        _image_layer(
            f"DepthwiseConv{n}D", '3, activation="snake"', "channels * depth_multiplier"
        )
        for n in (1, 2)
    ],
    "separable_convolution": [
        _image_layer(f"SeparableConv{n}D", _FILTERS, "filters") for n in (1, 2)
    ],
    "einsum_dense": [
        Layer(
            "EinsumDense",
            "A tensor with the axes of the first operand in `equation`.",
            "A tensor with the axes of the output in `equation`.",
            '"abc,cd->abd", (None, 4), activation="snake"',
            "(5, 2)",
        )
    ],
    "recurrent": [_sequence_layer(name) for name in ("SimpleRNN", "GRU", "LSTM")],
    "convolutional_recurrent": [_film_layer(n) for n in (1, 2, 3)],
}

_SUM = "log(sum(exp(sharpness x))) / sharpness"
_BOUND = "The outputs {side} the {extremum} of n values by at most log(n) / sharpness."
_ABOVE = _BOUND.format(side="exceed", extremum="maximum")
_BELOW = _BOUND.format(side="are below", extremum="minimum")
_MASKS = "Masks are passed on and do not change the values."
_BROADCAST = (
    "A list of at least two tensors of the same shape, or of shapes that can be broadcast.",
    "The broadcast shape of the inputs.",
)


def _pooling(name: str, channels_only: bool = False) -> Layer:
    where = "all spatial axes" if channels_only else "each window"
    layer = _image_layer(name, "", "channels", formula=f"{_SUM} over {where}", bound=_ABOVE)
    if not channels_only:
        return layer
    output = (
        "`(batch, channels)`. If `keepdims=True`, the spatial axes are kept with size 1."
    )
    return dataclasses.replace(layer, output_shape=output)


SMOOTH = {
    "smooth_pooling": [
        *(_pooling(f"MaxPooling{n}D") for n in (1, 2, 3)),
        *(_pooling(f"GlobalMaxPooling{n}D", True) for n in (1, 2, 3)),
    ],
    "smooth_merging": [
        Layer("Maximum", *_BROADCAST, "", "(4,)", _SUM, f"{_ABOVE} {_MASKS}"),
        Layer(
            "Minimum",
            *_BROADCAST,
            "",
            "(4,)",
            "-log(sum(exp(-sharpness x))) / sharpness",
            f"{_BELOW} {_MASKS}",
        ),
    ],
    "smooth_prelu": [
        Layer(
            "PReLU",
            "Arbitrary.",
            "Same shape as the input.",
            "",
            "(4,)",
            "s(x) - alpha s(-x), where s(x) = log(1 + exp(sharpness x)) / sharpness",
            "The outputs exceed those of Keras' layer by at most "
            "(1 - alpha) log(2) / sharpness, at 0.",
        )
    ],
}
# The function that computes each smooth layer.
_CALLS = {
    "smooth_pooling": {"Max": "pooled", "GlobalMax": "pooled_globally"},
    "smooth_merging": {"Maximum": "largest", "Minimum": "smallest"},
    "smooth_prelu": {"PReLU": "ramps"},
}
_TITLES = {
    "convolution": "Convolutions with an order.",
    "transposed_convolution": "Transposed convolutions with an order.",
    "depthwise_convolution": "Depthwise convolutions with an order.",
    "separable_convolution": "Separable convolutions with an order.",
    "einsum_dense": "EinsumDense with an order.",
    "recurrent": "Recurrent layers with an order.",
    "convolutional_recurrent": "Convolutional recurrent layers with an order.",
    "smooth_pooling": "Smooth max pooling layers.",
    "smooth_merging": "Smooth layers for the maximum and minimum of several tensors.",
    "smooth_prelu": "Smooth PReLU layer.",
}

_HEAD = '''"""{title}

Generated by tools/write_layers.py for the signatures of Keras {version}. Do not edit.
"""

{standard}

import keras

'''
_ORDERED = '''

@ordered
class {name}(keras.layers.{name}):
    """A `keras.layers.{name}` that can be differentiated `order` times.

    Args:
{arguments}
        order: Number of derivatives with respect to the inputs that the layer must have. An
            activation with fewer derivatives raises an error; 0 allows any activation.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
{input_shape}

    Output shape:
{output_shape}

    Raises:
        ValueError: If an activation is unknown or less smooth than `order`.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.{name}({example_arguments})
    >>> layer(keras.Input({example})).shape
    {example_shape}
    """

    def __init__({signature}) -> None:
        construct(super(), locals())
'''
_SMOOTH = '''

@smooth
class Smooth{name}(keras.layers.{name}):
    """A smooth `keras.layers.{name}`.

{what}

    Args:
{arguments}
        sharpness: Positive number. A larger number gives outputs closer to Keras' layer.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.

    Input shape:
{input_shape}

    Output shape:
{output_shape}

    Raises:
        ValueError: If `sharpness` is not positive.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.Smooth{name}(sharpness=20.0)
    >>> layer({example_input}).shape
    {example_shape}

    References:
        Boyd and Vandenberghe, 2004, "Convex optimization", section 3.1.5.
    """

    def __init__({signature}) -> None:
        construct(super(), locals())

    call = {call}
'''


def files() -> dict[str, str]:
    """Returns the name and contents of every file."""
    ordered = {f"{name}.py": _ordered_file(name, rows) for name, rows in ORDERED.items()}
    smooth = {f"{name}.py": _smooth_file(name, rows) for name, rows in SMOOTH.items()}
    return ordered | smooth


def _ordered_file(file: str, rows: list[Layer]) -> str:
    body = "".join(_filled(_ORDERED, row, "order: int = 2") for row in rows)
    imports = [
        "from keras_smooth.layers.construction import construct",
        "from keras_smooth.layers.table import ordered",
    ]
    return _head(file, imports, body) + body


def _smooth_file(file: str, rows: list[Layer]) -> str:
    calls = _CALLS[file]
    body = "".join(
        _filled(
            _SMOOTH,
            row,
            "sharpness: float = 10.0",
            call=calls[row.name.partition("Pooling")[0]],
            what=_paragraph(
                f"It computes {row.formula}. It has the arguments, weights and shapes of "
                f"Keras' layer. {row.bound}",
                4,
            ),
        )
        for row in rows
    )
    names = ", ".join(sorted(calls.values()))
    imports = [
        "from keras_smooth.layers.construction import construct",
        f"from keras_smooth.layers.smooth_maximum import {names}",
        "from keras_smooth.layers.table import smooth",
    ]
    return _head(file, imports, body) + body


def _head(file: str, imports: list[str], body: str) -> str:
    names = [name for name in ("Callable", "Sequence") if name in body]
    standard = [f"from collections.abc import {', '.join(names)}"] if names else []
    head = _HEAD.format(
        title=_TITLES[file],
        version=KERAS,
        standard="\n".join([*standard, "from typing import Any"]),
    )
    return head + "\n".join(imports) + "\n"


def _filled(template: str, row: Layer, added: str, **more: str) -> str:
    shape, example_input = _example(row)
    parameters = _parameters(row.name)
    filled = template.format(
        name=row.name,
        arguments="\n".join(
            _paragraph(f"{name}: {text(row.name, name)}", 8, 12) for name in parameters
        ),
        input_shape=_paragraph(row.input_shape, 8),
        output_shape=_paragraph(row.output_shape, 8),
        example_arguments=row.arguments,
        example=row.example,
        example_input=example_input,
        example_shape=shape,
        signature=_signature(row.name, added),
        **more,
    )
    # A layer of Keras may have no arguments.
    return filled.replace("Args:\n\n", "Args:\n")


def _example(row: Layer) -> tuple[tuple, str]:
    """Returns the output shape and the code of the input of the example."""
    stock = getattr(keras.layers, row.name)
    arguments = row.arguments.replace("snake", "tanh")
    layer = eval(f"stock({arguments})", {"stock": stock})
    source = f"keras.Input({row.example})"
    tensor = eval(source, {"keras": keras})
    if row.name in ("Maximum", "Minimum"):
        return layer([tensor, tensor]).shape, f"[{source}, {source}]"
    return layer(tensor).shape, source


def _parameters(name: str) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(getattr(keras.layers, name).__init__)
    hidden = ("self", "kwargs")
    return {key: p for key, p in signature.parameters.items() if key not in hidden}


def _signature(name: str, added: str) -> str:
    parameters = [_parameter(p) for p in _parameters(name).values()]
    words = ["self", *parameters, "*", added, "**kwargs: Any"]
    if not parameters:
        return ", ".join(words)
    return "".join(f"\n        {word}," for word in words) + "\n    "


def _parameter(parameter: inspect.Parameter) -> str:
    typed = f"{parameter.name}: {annotation(parameter.name, parameter.default)}"
    if parameter.default is parameter.empty:
        return typed
    return f"{typed} = {_literal(parameter.default)}"


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _paragraph(words: str, indent: int, next_indent: int | None = None) -> str:
    next_indent = indent if next_indent is None else next_indent
    return textwrap.fill(
        words,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * next_indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def main() -> None:
    """Writes the files."""
    if keras_version() != KERAS:
        raise SystemExit(
            f"The layers have the signatures of Keras {KERAS}, but {keras.__version__} is "
            "installed. Install that one, or set KERAS to the new one."
        )
    for name, contents in files().items():
        (FOLDER / name).write_text(contents)


if __name__ == "__main__":
    main()
