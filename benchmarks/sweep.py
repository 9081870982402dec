"""Audits every layer and activation that Keras exports, and writes the table of faults.

python benchmarks/sweep.py            # writes docs/keras_derivatives.md
"""

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_smooth
from keras_smooth import operations

PAGE = Path(__file__).parent.parent / "docs" / "keras_derivatives.md"
ORDERS = (1, 2, 3)

L = keras.layers
VECTOR, SEQUENCE, IMAGE, VOLUME = (6,), (6, 4), (8, 8, 4), (6, 6, 6, 4)


def _inner() -> keras.layers.Layer:
    return L.Dense(4, "tanh")


# What a layer is built with where its class alone does not do.
ARGUMENTS = {
    "Activation": ("tanh",), "AdaptiveAveragePooling1D": (2,), "AdaptiveMaxPooling1D": (2,),
    "AdaptiveAveragePooling2D": (2,), "AdaptiveMaxPooling2D": (2,),
    "AdaptiveAveragePooling3D": (2,), "AdaptiveMaxPooling3D": (2,),
    "AveragePooling1D": (2,), "AveragePooling2D": (2,), "AveragePooling3D": (2,),
    "CategoryEncoding": (4,), "CenterCrop": (4, 4), "Conv1D": (3, 3, ), "Conv2D": (3, 3),
    "Conv3D": (3, 3), "Conv1DTranspose": (3, 3), "Conv2DTranspose": (3, 3),
    "Conv3DTranspose": (3, 3), "ConvLSTM1D": (3, 3), "ConvLSTM2D": (3, 3),
    "ConvLSTM3D": (3, 3), "Dense": (4, "tanh"), "DepthwiseConv1D": (3,),
    "DepthwiseConv2D": (3,), "Dot": (1,), "Dropout": (0.5,), "AlphaDropout": (0.5,),
    "EinsumDense": ("abc,cd->abd", (None, 4)), "Embedding": (4, 3), "GRU": (4,),
    "LSTM": (4,), "SimpleRNN": (4,), "GaussianDropout": (0.5,), "GaussianNoise": (0.5,),
    "Lambda": (keras.ops.sin,), "MultiHeadAttention": (2, 3), "Permute": ((2, 1),),
    "GroupQueryAttention": (2, 4, 2), "RepeatVector": (3,), "Rescaling": (0.5,),
    "Reshape": ((3, 2),), "Resizing": (5, 5), "SeparableConv1D": (3, 3),
    "SeparableConv2D": (3, 3), "SpatialDropout1D": (0.5,), "SpatialDropout2D": (0.5,),
    "SpatialDropout3D": (0.5,), "GroupNormalization": (2,), "Solarization": (),
    "RandomBrightness": (0.2,), "RandomColorDegeneration": (0.5,), "RandomContrast": (0.5,),
    "RandomCrop": (4, 4), "RandomHue": (0.5,), "RandomPosterization": (4,),
    "RandomRotation": (0.2,), "RandomShear": ((0.0, 0.3),), "RandomSaturation": (0.5,), "RandomSharpness": (0.5,),
    "RandomTranslation": (0.2, 0.2), "RandomZoom": (0.2,), "HashedCrossing": (4,),
    "Hashing": (4,), "Discretization": (),
}  # fmt: skip
KEYWORDS = {
    "Discretization": {"bin_boundaries": [-0.5, 0.5]},
    "ActivityRegularization": {"l2": 0.1},
    "Normalization": {"mean": 0.5, "variance": 2.0},
    "CategoryEncoding": {"output_mode": "one_hot"},
}
# Layers of other layers.
WRAPPED = {
    "Bidirectional": lambda: L.Bidirectional(L.LSTM(3)),
    "RNN": lambda: L.RNN(L.LSTMCell(3)),
    "SpectralNormalization": lambda: L.SpectralNormalization(_inner()),
    "TimeDistributed": lambda: L.TimeDistributed(_inner()),
    "Pipeline": lambda: L.Pipeline([L.Rescaling(0.5)]),
}
# More than one way in which a layer can be built.
VARIANTS = {
    "Resizing, bicubic": lambda: L.Resizing(5, 5, interpolation="bicubic"),
    "UpSampling2D, bilinear": lambda: L.UpSampling2D(interpolation="bilinear"),
    "UpSampling2D, bicubic": lambda: L.UpSampling2D(interpolation="bicubic"),
    "BatchNormalization, renorm": lambda: L.BatchNormalization(renorm=True),
    "LayerNormalization, rms_scaling": lambda: L.LayerNormalization(rms_scaling=True),
}
SHAPES = {
    **dict.fromkeys(("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply",
                     "Subtract", "Dot"), [VECTOR, VECTOR]),
    **dict.fromkeys(("Attention", "AdditiveAttention", "MultiHeadAttention"),
                    [SEQUENCE, SEQUENCE]),
    "GroupQueryAttention": [SEQUENCE, SEQUENCE],
    **dict.fromkeys(("GRU", "LSTM", "SimpleRNN", "RNN", "Bidirectional", "TimeDistributed",
                     "Conv1D", "Conv1DTranspose", "DepthwiseConv1D", "EinsumDense",
                     "SeparableConv1D", "SpatialDropout1D", "Cropping1D", "Permute",
                     "ZeroPadding1D", "UpSampling1D", "Masking"), SEQUENCE),
    "ConvLSTM1D": (3, 6, 4), "ConvLSTM2D": (3, 6, 6, 4), "ConvLSTM3D": (2, 5, 5, 5, 3),
    **dict.fromkeys(("Conv3D", "Conv3DTranspose", "SpatialDropout3D"), VOLUME),
    **dict.fromkeys(("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"), VECTOR),
    **dict.fromkeys(("AugMix", "AutoContrast", "CenterCrop", "CutMix",
                     "ContrastLimitedAdaptiveHistogramEqualization", "Equalization",
                     "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration",
                     "RandomColorJitter", "RandomContrast", "RandomCrop",
                     "RandomElasticTransform", "RandomErasing", "RandomFlip",
                     "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert",
                     "RandomPerspective", "RandomPosterization", "RandomRotation",
                     "RandomSaturation", "RandomSharpness", "RandomShear",
                     "RandomTranslation", "RandomZoom", "Resizing", "Solarization"),
                    (8, 8, 3)),
    "STFTSpectrogram": (600, 1), "MelSpectrogram": (3000,),
}  # fmt: skip
LEFT_OUT = {
    "InputLayer": "computes nothing",
    "InputSpec": "is not a layer",
    "Layer": "computes nothing by itself",
    "Wrapper": "computes nothing by itself",
    "FlaxLayer": "needs JAX", "JaxLayer": "needs JAX", "TorchModuleWrapper": "needs torch",
    "TFSMLayer": "needs a saved model",
    "GRUCell": "has a state argument; it is audited inside GRU",
    "LSTMCell": "has a state argument; it is audited inside LSTM and RNN",
    "SimpleRNNCell": "has a state argument; it is audited inside SimpleRNN",
    "StackedRNNCells": "has a state argument",
    "MaxNumBoundingBoxes": "takes bounding boxes, not numbers",
    **dict.fromkeys(("HashedCrossing", "Hashing", "IntegerLookup", "StringLookup",
                     "TextVectorization", "Embedding", "CategoryEncoding",
                     "ReversibleEmbedding"), "takes integers or strings"),
}  # fmt: skip


def layers() -> dict[str, Callable]:
    """Returns a maker of each layer that Keras exports, aliases once."""
    found = {}
    seen = set()
    for name in sorted(dir(L)):
        kind = getattr(L, name)
        if inspect.isclass(kind) and kind not in seen and name == kind.__name__:
            seen.add(kind)
            found[name] = WRAPPED.get(name) or _maker(name)
    return {**found, **VARIANTS}


def _maker(name: str) -> Callable:
    def make():
        return getattr(L, name)(*ARGUMENTS.get(name, ()), **KEYWORDS.get(name, {}))

    return make


def inputs(name: str):
    """Returns the inputs for a layer: what the table says, else the first shape it takes."""
    shapes = VECTOR if name.startswith("activation ") else SHAPES.get(name.split(",")[0])
    if shapes is None:
        return next(
            x for x in map(_numbers, (VECTOR, SEQUENCE, IMAGE, VOLUME)) if _fits(name, x)
        )
    if isinstance(shapes, list):
        return [_numbers(shape, seed) for seed, shape in enumerate(shapes)]
    return _numbers(shapes)


def _fits(name: str, x) -> bool:
    try:
        layers()[name]()(x)
    except Exception:
        return False
    return True


def _numbers(shape: tuple, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(4, *shape)).astype("float32")


def audited(name: str, make: Callable, order: int) -> keras_smooth.auditing.LayerAudit:
    """Returns the row of one layer; a layer of several inputs is put into a model."""
    keras.utils.set_random_seed(0)
    x, layer = inputs(name), make()
    if name.startswith("activation "):
        # At all that numbers may do, not at a few of them alone.
        model = keras.Sequential([keras.Input(x.shape[1:]), layer])
        return keras_smooth.audit(model, order=order).rows[0]
    if not isinstance(x, list):
        return keras_smooth.audit(layer, x, order=order).rows[0]
    tensors = [keras.Input(part.shape[1:]) for part in x]
    apart = name in ("MultiHeadAttention", "GroupQueryAttention")
    model = keras.Model(tensors, layer(*tensors) if apart else layer(tensors))
    return keras_smooth.audit(model, x, order=order).rows[0]


def activations() -> dict[str, Callable]:
    """Returns a maker of an Activation layer for each function that Keras exports."""
    names = {}
    for name in sorted(dir(keras.activations)):
        function = getattr(keras.activations, name)
        if not name.startswith("_") and name not in ("get", "serialize", "deserialize"):
            names.setdefault(function, name)
    return {
        f"activation {name}": (lambda f=function: L.Activation(f))
        for function, name in names.items()
        if name != "threshold"
    }


def verdicts(names: list[str] | None = None) -> dict[str, list[str]]:
    """Returns the verdicts at orders 1, 2, 3 of each layer and activation.

    Args:
        names: Some of them; None for all.
    """
    makers = {**layers(), **activations()}
    chosen = [name for name in names or makers if name not in LEFT_OUT]
    return {name: _at_orders(name, makers[name]) for name in chosen}


def _at_orders(name: str, make: Callable) -> list[str]:
    row = audited(name, make, ORDERS[-1])
    # An audit says at which order the fault begins: the orders below are well.
    start = row.order or (1 if row.verdict == "not examined" else math.inf)
    return ["ok" if k < start else _words(row) for k in ORDERS]


def _words(row: keras_smooth.auditing.LayerAudit) -> str:
    words = str(row.cause) if row.mode == "inference" else f"{row.cause} (training)"
    if row.verdict == "faulty":
        return words
    # The row of an audit has the whole text.
    return f"{words}: {re.split(r'[.;,]', row.reason)[0][:60]}"


INTRODUCTION = """Keras {keras}, TensorFlow {tensorflow}, CPU, written by `python benchmarks/sweep.py`. Each
layer was audited with random weights and inputs, in inference and training mode. `ok` means that the
derivative of that order is right, `not smooth` that it jumps or does not exist at some points, and `wrong` that
TensorFlow's own derivative is wrong or missing. `(training)` means in training mode only."""
OPERATIONS = """Functions of Keras and TensorFlow operations whose derivatives by nested tapes are wrong, not finite or
missing above some order, at least at some points (see `tests/test_operation_table.py` and
`tests/test_special_points.py`). Order 0 is y itself. `engine="auto"` uses Taylor mode for them, which is
right:"""


def page(found: dict[str, list[str]]) -> str:
    """Returns the page as Markdown."""
    faults = {name: row for name, row in found.items() if set(row) != {"ok"}}
    well = sorted(set(found) - set(faults))
    lines = [
        "# Lost and wrong derivatives of Keras on TensorFlow",
        "",
        INTRODUCTION.format(keras=keras.__version__, tensorflow=tf.__version__),
        "",
        "| layer | order 1 | order 2 | order 3 |",
        "|---|---|---|---|",
        *(f"| {name} | {' | '.join(row)} |" for name, row in faults.items()),
        "",
        f"Right up to order 3: {', '.join(well)}.",
        "",
        OPERATIONS,
        "",
        *single_points(),
        "",
        "Not in the table:",
        "",
        *(f"- {name}: {reason}." for name, reason in sorted(LEFT_OUT.items())),
        "- activation threshold: has required arguments.",
    ]
    return "\n".join(lines) + "\n"


def single_points() -> list[str]:
    """Returns an item for each function and operation that tapes have wrong from an order on."""
    functions = ((row.subject.__name__, row) for row in keras_smooth.registry.all_rows())
    kinds = ((row.kind, row) for row in operations.all_rows())
    return [
        f"- {name}: right up to order {row.tapes_right_to}."
        for name, row in sorted([*functions, *kinds], key=lambda pair: pair[0])
        if not callable(row.tapes_right_to) and row.tapes_right_to < math.inf
    ]


def committed(text: str) -> dict[str, list[str]]:
    """Returns the verdicts that a page states, by layer."""
    rows = [
        line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")
    ]
    found = {name: row for name, *row in rows[1:]}
    well = next(line for line in text.splitlines() if line.startswith("Right up to"))
    names = re.split(r", (?=activation |[A-Z])", well.split(": ", 1)[1].rstrip("."))
    return {**found, **{name: ["ok"] * len(ORDERS) for name in names}}


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(verdicts()))
