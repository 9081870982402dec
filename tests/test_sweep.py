"""The table of derivatives that Keras' layers lose, compared with new runs."""

import importlib.util
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from representatives import representatives

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("sweep", ROOT / "benchmarks" / "sweep.py")
sweep = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(sweep)

TEXT = sweep.PAGE.read_text()
VERSIONS = f"Keras {keras.__version__}, TensorFlow {tf.__version__},"
same_versions = pytest.mark.skipif(
    VERSIONS not in TEXT, reason="the table was made with other versions"
)
SAMPLE = ["LayerNormalization", "GroupNormalization", "BatchNormalization", "RMSNormalization",
       "UpSampling2D, bicubic", "Softmax", "Add", "activation softsign", "activation celu",
       "activation relu", "activation tanh", "Resizing", "Resizing, bicubic",
       "UpSampling2D, bilinear", "AveragePooling3D", "AutoContrast", "RandomContrast"]  # fmt: skip


def test_every_layer_and_activation_is_in_the_table_or_left_out():
    listed = set(sweep.committed(TEXT)) | set(sweep.LEFT_OUT)
    assert set(sweep.layers()) | set(sweep.activations()) == listed


@same_versions
@pytest.mark.parametrize("name", representatives(SAMPLE, SAMPLE[::4]))
def test_table_agrees_with_a_new_run_of_some_layers(name):
    assert sweep.verdicts([name])[name] == sweep.committed(TEXT)[name]


@same_versions
@pytest.mark.study
def test_whole_table_agrees_with_a_new_run():
    assert sweep.page(sweep.verdicts()) == TEXT
