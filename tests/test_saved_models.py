"""Models that were saved by version 0.1.0 can be loaded, and have the same outputs."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from representatives import representatives

import keras_smooth
from keras_smooth import layers
from keras_smooth.models import graph

FOLDER = Path(__file__).parent / "data" / "saved_by_0_1_0"
MODELS = sorted(path.stem for path in FOLDER.glob("*.keras"))
# The version of Keras that saved them, and the installed version.
WRITER, INSTALLED = ((3, 15), tuple(map(int, keras.__version__.split(".")[:2])))
pytestmark = pytest.mark.skipif(
    INSTALLED < WRITER,
    reason="Keras 3.15 wrote them, and an older Keras does not know all arguments in them",
)
# The layers of version 0.1.0.
OLD = (
    "Activation BatchNormalization Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D "
    "Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Dense DepthwiseConv1D DepthwiseConv2D "
    "EinsumDense GRU GroupNormalization LSTM LayerNormalization Resizing SeparableConv1D "
    "SeparableConv2D SimpleRNN SmoothGlobalMaxPooling1D SmoothGlobalMaxPooling2D "
    "SmoothGlobalMaxPooling3D SmoothMaxPooling1D SmoothMaxPooling2D SmoothMaxPooling3D "
    "SmoothMaximum SmoothMinimum SmoothPReLU UnitNormalization UpSampling2D"
).split()


def _arrays(name, letter):
    with np.load(FOLDER / f"{name}.npz") as saved:
        return [saved[key] for key in sorted(saved.files) if key.startswith(letter)]


@functools.cache
def _loaded(name):
    return keras.models.load_model(FOLDER / f"{name}.keras")


def _assert_outputs(name):
    """Compares the outputs of a loaded model with those that are stored with it."""
    model = _loaded(name)
    xs, ys = _arrays(name, "x"), _arrays(name, "y")
    outputs = keras.tree.flatten(model(xs if len(xs) > 1 else xs[0]))
    assert len(outputs) == len(ys)
    # Rounding of float32 in sums of a few dozen terms, which processors and versions order
    # differently: 3.1e-6 with TensorFlow 2.16 and 2.18.
    tolerance = 1e-14 if ys[0].dtype == np.float64 else 5e-6
    for y, expected in zip(outputs, ys):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("name", MODELS)
def test_loaded_models_have_the_stored_outputs(name):
    _assert_outputs(name)


@pytest.mark.slow
def test_models_are_loaded_in_a_new_process():
    process = subprocess.run([sys.executable, __file__], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == MODELS


@pytest.mark.parametrize("name", representatives(MODELS, MODELS[::3]))
def test_loaded_models_can_be_saved_again(name, tmp_path):
    model = _loaded(name)
    model.save(tmp_path / "again.keras")
    reloaded = keras.models.load_model(tmp_path / "again.keras")
    for old, new in zip(model.get_weights(), reloaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_models_contain_every_layer_of_version_0_1_0():
    kinds = {type(part) for name in MODELS for _, part in graph.walk(_loaded(name))}
    assert [name for name in OLD if getattr(layers, name) not in kinds] == []


def test_checkpoint_of_version_0_1_0_is_resumed(tmp_path):
    shutil.copytree(FOLDER / "fit", tmp_path / "fit")
    with np.load(FOLDER / "fit.npz") as saved:
        x, y, losses = (saved[name] for name in ("x", "y", "loss"))
        start, after_five_epochs = (
            [saved[f"{when}_{number}"] for number in range(4)] for when in ("start", "five")
        )
    model = keras.models.load_model(FOLDER / "compiled.keras")
    model.set_weights(start)
    arguments = {"checkpoint": tmp_path / "fit", "jit_compile": False, "verbose": 0}
    with pytest.warns(UserWarning, match="of an older version"):
        history = keras_smooth.fit_lbfgs(model, x, y, epochs=5, **arguments)
        np.testing.assert_array_equal(history.history["loss"], losses[:5])
        for weights, expected in zip(model.get_weights(), after_five_epochs, strict=True):
            np.testing.assert_array_equal(weights, expected)
        history = keras_smooth.fit_lbfgs(model, x, y, epochs=10, **arguments)
    assert len(history.epoch) == 10 and history.result.fun < losses[4]


if __name__ == "__main__":
    for each in MODELS:
        _assert_outputs(each)
        print(each)
