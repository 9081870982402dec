"""Audits of the families of keras.applications and of backbones of KerasHub: docs/audits.md.

    python benchmarks/audits.py                  # all that can be built, about half an hour
    python benchmarks/audits.py VGG16 Bert       # some, which are replaced in the page

Weights are random. Besides the verdicts stands an independent check: y' and y'' of the whole
model in float64 by tapes, against differences of y and of y'.
"""

import functools
import json
import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_smooth
from keras_smooth.models import references, sample_inputs

PAGE = Path(__file__).parent.parent / "docs" / "audits.md"
# The smallest images that each takes, in pixels.
APPLICATIONS = {
    "ConvNeXtTiny": 32, "DenseNet121": 32, "EfficientNetB0": 32, "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75, "InceptionV3": 75, "MobileNet": 32, "MobileNetV2": 32,
    "MobileNetV3Small": 32, "NASNetMobile": 32, "ResNet50": 32, "ResNet50V2": 32,
    "VGG16": 32, "Xception": 71,
}  # fmt: skip
_TEXT = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
_VOCABULARY = {"vocabulary_size": 50, "max_sequence_length": 8}
BACKBONES: dict[str, dict[str, Any]] = {
    "Bert": {**_TEXT, **_VOCABULARY},
    "DistilBert": {**_TEXT, **_VOCABULARY},
    "GPT2": {**_TEXT, **_VOCABULARY},
    "OPT": {**_TEXT, **_VOCABULARY},
    "Roberta": {**_TEXT, **_VOCABULARY},
    "T5": {"vocabulary_size": 50, **_TEXT},
    "ViT": {
        "image_shape": (16, 16, 3), "patch_size": 4, "num_layers": 2, "num_heads": 2,
        "hidden_dim": 16, "mlp_dim": 32,
    },
    "ResNet": {
        "input_conv_filters": [64], "input_conv_kernel_sizes": [3],
        "stackwise_num_filters": [64, 64], "stackwise_num_blocks": [1, 1],
        "stackwise_num_strides": [1, 2], "block_type": "basic_block",
        "image_shape": (16, 16, 3),
    },
}  # fmt: skip
# Where the embeddings of a backbone end that calls one layer for two texts.
BEHIND = {"T5": ("encoder_embedding_dropout", "decoder_embedding_dropout")}
HEAD = ("model", "inference", "training", "at fault", "seconds", "y' off by", "y'' off by",
        "y' in training", "y'' in training")  # fmt: skip
# Between the breakpoints of a large network of pieces are steps of 1e-8.
STEPS = 10.0 ** -np.arange(2, 10)
# A part of the derivative up to which differences of two steps must agree.
SETTLED = 1e-4


def makers() -> dict[str, Callable[[], keras.Model]]:
    """Returns a maker of each model; those of KerasHub where it is installed."""
    applications = {name: lambda n=name: _application(n) for name in APPLICATIONS}
    try:
        import keras_hub
    except ImportError:
        return applications
    kinds = {name: getattr(keras_hub.models, f"{name}Backbone") for name in BACKBONES}
    return applications | {
        f"KerasHub {name}": lambda n=name: behind_embeddings(
            kinds[n](**BACKBONES[n]), BEHIND.get(n, ())
        )
        for name in BACKBONES
    }


def behind_embeddings(model: keras.Model, names: Sequence[str] = ()) -> keras.Model:
    """Returns a Functional model from its embeddings on, itself where it has none.

    There are no derivatives with respect to integers: those of a text are with respect to
    what its embeddings return.

    Args:
        model: The model.
        names: The last layers before the cut; by default those that make floats of integers.
    """
    layers = [model.get_layer(name) for name in names]
    embedded = [layer.output for layer in layers or filter(_embeds, model.layers)]
    if not embedded:
        return model
    return keras.Model([*embedded, *keras.tree.flatten(model.input)], model.output)


def _embeds(layer: keras.Layer) -> bool:
    """Returns whether a layer with weights has integers as inputs and floats as outputs."""
    if isinstance(layer, keras.layers.InputLayer) or not layer.weights:
        return False
    numbers = keras.tree.flatten(layer.input)
    return "int" in numbers[0].dtype and "float" in layer.output.dtype


def _application(name: str) -> keras.Model:
    size = APPLICATIONS[name]
    return getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10
    )


def row(name: str, make: Callable[[], keras.Model]) -> list[str]:
    """Returns the cells of a model."""
    model = made(make, "float32")
    start = time.process_time()
    found = keras_smooth.audit(model, inputs(model))
    seconds = time.process_time() - start
    faults = {
        f"{r.layer} ({r.cause}{' in training' if r.mode == 'training' else ''})"
        for r in found.rows
        if r.verdict not in ("proven", "checked")
    }
    twin = made(make, "float64")
    errors = [_cell(error) for mode in (False, True) for error in agreement(twin, mode)]
    words = ", ".join(sorted(faults))
    return [name, found.inference, found.training, words, f"{seconds:.1f}", *errors]


def _cell(error: float | None) -> str:
    return "unsettled" if error is None else f"{error:.0e}"


def made(make: Callable[[], keras.Model], dtype: str) -> keras.Model:
    """Returns a model that computes in a dtype, with random weights and live signals.

    With the statistics that BatchNormalization starts with, signals die out on the way
    through some: all have those of a batch.
    """
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        keras.utils.set_random_seed(0)
        model = make()
        layers = [p for p in references.layers_within(model) if _has_statistics(p)]
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.momentum = 0.0
        if layers:
            model(inputs(model), training=True)
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum
        return model
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def _has_statistics(part: Any) -> bool:
    return isinstance(part, keras.layers.BatchNormalization)


def inputs(model: keras.Model) -> Any:
    """Returns random inputs of a model: images of pixels from 0 to 255, mostly."""
    return keras.tree.map_structure(
        lambda leaf: 128.0 + 50.0 * leaf if leaf.shape.rank == 4 else leaf,
        sample_inputs.of_built(model),
    )


def agreement(model: keras.Model, training: bool = False) -> list[float | None]:
    """Returns how far y' is from differences of y, and y'' from those of y', relative.

    Args:
        model: In float64.
        training: Whether in training mode.

    Returns:
        Two numbers, None where the differences of no two steps agree.
    """
    _compile_convolutions_once(model)
    slope = functools.partial(_slope, _curve(model, training))
    t = tf.constant(0.0, "float64")
    with tf.GradientTape() as tape:
        tape.watch(t)
        first = slope(t)[1]
    second = tape.gradient(first, t)
    found = float(first), 0.0 if second is None else float(second)
    values = np.array([[slope(t + step), slope(t - step)] for step in STEPS])
    errors: list[float | None] = []
    scale = 0.0
    for own, below in zip(found, np.moveaxis(values, 2, 0)):
        true, doubt = _settled((below[:, 0] - below[:, 1]) / (2 * STEPS))
        scale = max(scale, abs(true))
        errors.append(abs(own - true) / scale if doubt < SETTLED * scale else None)
    return errors


def _slope(curve: Callable, t: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a curve and its derivative at a point."""
    with tf.GradientTape() as tape:
        tape.watch(t)
        y = curve(t)
    return y, tape.gradient(y, t)


def _settled(estimates: np.ndarray) -> tuple[float, float]:
    """Returns the estimate that agrees best with that of the next step, and how well.

    Wide steps cross breakpoints of pieces, narrow ones lose digits. What is found by tapes has
    no say in it.
    """
    moves = np.abs(np.diff(estimates))
    best = int(moves.argmin())
    return float(estimates[best + 1]), float(moves[best])


def _curve(model: keras.Model, training: bool) -> Callable:
    """Returns a combination of the outputs of a model along a line, as a function of t.

    The line runs through its inputs of floats.
    """
    x = inputs(model)
    # Not the numbers of the inputs: LayerNormalization is constant along its input.
    rng = np.random.default_rng(2)
    lines = keras.tree.map_structure(lambda leaf: _direction(leaf, rng), x)

    def curve(t):
        moved = keras.tree.map_structure(
            lambda leaf, line: tf.cast(leaf, "float64") + t * line if _is_float(leaf) else leaf,
            x, lines,
        )  # fmt: skip
        # No state is kept, so that dropout draws the same numbers each time.
        with keras.StatelessScope(state_mapping=[]):
            y = keras.tree.flatten(model(moved, training=training))
        # A sum with random weights: that of probabilities alone would not change.
        weights = np.random.default_rng(1)
        return tf.add_n(
            [tf.reduce_sum(part * weights.normal(size=part.shape)) for part in y]
        )

    return curve


def _direction(leaf: tf.Tensor, rng: np.random.Generator) -> tf.Tensor:
    size = np.std(leaf) if _is_float(leaf) else 0.0
    return tf.constant(size * rng.normal(size=leaf.shape))


def _is_float(leaf: Any) -> bool:
    return leaf.dtype.is_floating


def _compile_convolutions_once(model: keras.Model) -> None:
    """Has convolutions in groups, which Keras compiles at every call, compiled once a shape."""
    compiled = {}
    for layer in references.layers_within(model):
        if getattr(layer, "groups", 1) > 1 and hasattr(layer, "convolution_op"):
            kind = (layer.strides, layer.padding, layer.dilation_rate, layer.groups)
            if kind not in compiled:
                compiled[kind] = tf.function(layer.convolution_op, autograph=False)
            # Not setattr, which Keras uses to track what it takes for a part of the layer.
            vars(layer)["convolution_op"] = _on_tensors(compiled[kind])


def _on_tensors(graph: Callable) -> Callable:
    return lambda x, kernel: graph(x, tf.convert_to_tensor(kernel))


INTRODUCTION = """Keras {keras}, TensorFlow {tensorflow}, written by `python benchmarks/audits.py`. The models have random weights,
images of the smallest size, and small configurations of KerasHub's backbones. Text models are audited from
the outputs of their embeddings on. [Audit and repair](howto/audit_and_repair.md) explains the verdicts.
Layers at fault are `not smooth` if they have kinks or jumps, `wrong` if TensorFlow's own derivative is wrong or
missing, and `unknown` if they could not be examined. Seconds are CPU seconds on a busy machine.

The last four columns are an independent check of the whole model in float64, along a line: the relative
difference of y' by nested tapes from finite differences of y, and of y'' from finite differences of y'. Of
the steps from 1e-2 to 1e-9, the two neighboring ones that agree best are used. Such small steps lie between
the kinks, so that a model that is only `not smooth` agrees, and one that is `wrong` does not. `unsettled` means
that no two steps agree to four digits."""


def page(rows: list[list[str]]) -> str:
    """Returns the page as Markdown."""
    lines = [
        "# Audits of known models",
        "",
        INTRODUCTION.format(keras=keras.__version__, tensorflow=tf.__version__),
        "",
        f"| {' | '.join(HEAD)} |",
        f"|{'---|' * len(HEAD)}",
        *(f"| {' | '.join(cells)} |" for cells in rows),
    ]
    return "\n".join(lines) + "\n"


def committed(text: str) -> dict[str, list[str]]:
    """Returns the rows of a page by model."""
    lines = [line[2:-2] for line in text.splitlines() if re.match(r"\| \w", line)]
    return {cells[0]: cells for cells in (line.split(" | ") for line in lines[1:])}


def main(names: list[str]) -> None:
    made = makers()
    chosen = [n for n in made if not names or n.removeprefix("KerasHub ") in names]
    rows = committed(PAGE.read_text()) if PAGE.exists() else {}
    for name in chosen:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows[name] = row(name, made[name])
        print(json.dumps(rows[name]), flush=True)
        order = [n for n in made if n in rows] + [n for n in rows if n not in made]
        PAGE.write_text(page([rows[n] for n in order]))


if __name__ == "__main__":
    main(sys.argv[1:])
