"""Functions of one code that are made for each model are not taken for one that retraces."""

import functools
import logging

import numpy as np
import pytest
import tensorflow as tf

import keras_smooth
from keras_smooth.models.tracing import traced


def _warnings(make, caplog) -> list[str]:
    """Returns what TensorFlow says of ten functions of one code, each called twice."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "tensorflow"):
        for number in range(10):
            function = make(lambda x, number=number: x + number)
            assert [float(function(tf.constant(1.0))) for _ in "ab"] == [1.0 + number] * 2
    return [text for text in caplog.messages if "retracing" in text]


@pytest.fixture(autouse=True)
def _seen(monkeypatch):
    """What TensorFlow logs goes to where it can be read."""
    monkeypatch.setattr(tf.get_logger(), "propagate", True)


def test_each_counts_alone(caplog):
    assert _warnings(traced, caplog) == []


def test_tensorflow_itself_counts_them_together(caplog):
    # If it no longer does, `traced` is not needed.
    assert _warnings(functools.partial(tf.function, autograph=False), caplog)


def test_what_cannot_be_traced_is_tried_once_in_a_call():
    tried = []

    def decides(x):
        if tf.is_symbolic_tensor(x):
            tried.append(x.shape)
        return tf.sin(x) if x[0, 0] > 0 else x

    x = np.linspace(0.5, 1.0, 4)[:, None]
    with pytest.warns(UserWarning, match="cannot trace it"):
        _, dy, _ = keras_smooth.derivatives(decides, x, 2)
    np.testing.assert_allclose(dy, np.cos(x), rtol=1e-15)
    assert len(tried) == 1
