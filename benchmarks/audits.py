"""Audits of the families of keras.applications and of backbones of KerasHub: docs/audits.md.

    python benchmarks/audits.py                  # all that can be built, about half an hour
    python benchmarks/audits.py VGG16 Bert       # some, which are replaced in the page

Weights are random. Besides the verdicts stands an independent check: y' and y'' of the whole
model in inference, from nested tapes, against differences of its values in float64.
"""

import json
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_smooth
from keras_smooth.models import copies, sample_inputs, state

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
HEAD = ("model", "inference", "training", "at fault", "seconds", "y' off by", "y'' off by")
# The step that agrees best counts: wide ones cross joints, narrow ones lose digits.
STEPS = (1e-2, 1e-3, 1e-4, 1e-5)
# Weights of five points in the first and the second derivative, with errors of step^4.
FIRST = np.array([1, -8, 0, 8, -1]) / 12
SECOND = np.array([-1, 16, -30, 16, -1]) / 12


def makers() -> dict[str, Callable[[], keras.Model]]:
    """Returns a maker of each model; those of KerasHub where it is installed."""
    found = {name: lambda n=name: _application(n) for name in APPLICATIONS}
    try:
        import keras_hub
    except ImportError:
        return found
    kinds = {name: getattr(keras_hub.models, f"{name}Backbone") for name in BACKBONES}
    return found | {
        f"KerasHub {name}": lambda n=name: kinds[n](**BACKBONES[n]) for name in BACKBONES
    }


def _application(name: str) -> keras.Model:
    size = APPLICATIONS[name]
    return getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10
    )


def row(name: str, make: Callable[[], keras.Model]) -> list[str]:
    """Returns the cells of a model."""
    keras.utils.set_random_seed(0)
    model = make()
    start = time.process_time()
    found = keras_smooth.audit(model)
    seconds = time.process_time() - start
    faults = {f"{r.layer} ({r.verdict})" for r in found.rows if r.outcome != "proven"}
    errors = [f"{error:.0e}" for error in agreement(model)] or ["", ""]
    words = ", ".join(sorted(faults))
    return [name, found.inference, found.training, words, f"{seconds:.1f}", *errors]


def agreement(model: keras.Model) -> list[float]:
    """Returns how far y' and y'' are from differences, relative; nothing where that says nothing."""
    x = sample_inputs.of_built(model)
    leaves = [leaf for leaf in keras.tree.flatten(x) if leaf.dtype.is_floating]
    if not leaves:
        return []
    # Some layers of KerasHub do not take the configs that they write.
    try:
        copy = copies.copy_in("float64", model, (x,), {})
    except copies.CannotCopy:
        return []
    state.copy_state(model, copy)
    rng = np.random.default_rng(0)
    lines = [tf.constant(rng.normal(size=leaf.shape)) for leaf in leaves]

    def curve(t):
        rest = iter(lines)
        moved = keras.tree.map_structure(
            lambda leaf: (
                tf.cast(leaf, "float64") + t * next(rest)
                if leaf.dtype.is_floating
                else leaf
            ),
            x,
        )
        # A sum with random weights: that of probabilities alone would not change.
        y = keras.tree.flatten(copy(moved, training=False))
        weights = np.random.default_rng(1)
        return tf.add_n(
            [tf.reduce_sum(part * weights.normal(size=part.shape)) for part in y]
        )

    t = tf.constant(0.0, "float64")
    with tf.GradientTape() as outer:
        outer.watch(t)
        with tf.GradientTape() as inner:
            inner.watch(t)
            y = curve(t)
        first = inner.gradient(y, t)
    second = outer.gradient(first, t)
    second = tf.zeros_like(t) if second is None else second
    # With random weights, signals die out in some: what is left is rounding.
    if abs(float(first)) < 1e-10 * abs(float(y)):
        return []
    errors = []
    for step in STEPS:
        values = np.array([float(curve(t + k * step)) for k in range(-2, 3)])
        d, d2 = FIRST @ values / step, SECOND @ values / step**2
        scale = max(abs(d), abs(d2))
        errors.append([abs(float(first) - d) / abs(d), abs(float(second) - d2) / scale])
    return [min(column) for column in zip(*errors)]


def page(rows: list[list[str]]) -> str:
    """Returns the page as Markdown."""
    lines = [
        "# Audits of known models",
        "",
        f"Keras {keras.__version__}, TensorFlow {tf.__version__}, random weights, images of "
        "the smallest size, small configurations of KerasHub's backbones; written by "
        "`python benchmarks/audits.py`. `rough` layers are made of pieces, `wrong` ones have "
        "a wrong derivative in TensorFlow. Seconds are of CPU. The last two columns hold y' "
        "and y'' of the whole model in inference, along a line, against differences of its "
        "values: where pieces join within the step they say little. They are missing where "
        "inputs are no floats, where signals die out on the way, and where the model has no "
        "copy in float64.",
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
