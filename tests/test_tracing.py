"""Functions that share their code do not count as one function that retraces."""

import functools
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth
from keras_smooth.models.tracing import traced


def _warnings(make, caplog) -> list[str]:
    """Returns TensorFlow's warnings for ten functions of the same code, each called twice."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "tensorflow"):
        for number in range(10):
            function = make(lambda x, number=number: x + number)
            assert [float(function(tf.constant(1.0))) for _ in "ab"] == [1.0 + number] * 2
    return [text for text in caplog.messages if "retracing" in text]


@pytest.fixture(autouse=True)
def _propagated_log(monkeypatch):
    """Lets pytest capture the log of TensorFlow."""
    monkeypatch.setattr(tf.get_logger(), "propagate", True)


def test_traced_functions_of_the_same_code_do_not_warn(caplog):
    assert _warnings(traced, caplog) == []


def test_tensorflow_warns_for_functions_of_the_same_code(caplog):
    # If this fails with a newer TensorFlow, `traced` is no longer needed.
    assert _warnings(functools.partial(tf.function, autograph=False), caplog)


def test_untraceable_function_is_traced_once_in_a_call():
    traces = []

    def branches_on_values(x):
        if tf.is_symbolic_tensor(x):
            traces.append(x.shape)
        return tf.sin(x) if x[0, 0] > 0 else x

    x = np.linspace(0.5, 1.0, 4)[:, None]
    with pytest.warns(UserWarning, match="cannot trace it"):
        _, dy, _ = keras_smooth.derivatives(branches_on_values, x, 2)
    np.testing.assert_allclose(dy, np.cos(x), rtol=1e-15)
    assert len(traces) == 1


def recomputed_model():
    with keras.RematScope(mode="full"):
        inputs = keras.Input((1,))
        outputs = keras.layers.Dense(1, "tanh")(inputs)
        return keras.Model(inputs, outputs)


class RaisesInGraph(keras.layers.Layer):
    def call(self, x):
        if tf.is_symbolic_tensor(x):
            raise RuntimeError("own words")
        return tf.sin(x)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (recomputed_model, "ValueError: The custom_gradient decorator currently supports"),
        (RaisesInGraph, r"RuntimeError: own words\)"),
    ],
    ids=["RematScope", "own layer"],
)
def test_warning_has_the_reason_for_which_a_model_is_not_traced(make, reason):
    with pytest.warns(UserWarning, match=f"cannot trace it \\({reason}"):
        keras_smooth.derivatives(make(), np.array([[0.5]], "float32"), order=1)


X = np.linspace(-1.0, 1.0, 9)[:, None]
# Public functions that compute with values. All others can be part of a graph.
EAGER_ONLY = {
    "fit_lbfgs": lambda model: keras_smooth.fit_lbfgs(model, X, X, verbose=0),
    "audit": lambda model: keras_smooth.audit(model, X),
    "smoothen": keras_smooth.smoothen,
    "output_change": lambda model: keras_smooth.output_change(model, model, X),
    "standardized": lambda model: keras_smooth.standardized(model, X),
    "compare": lambda model: keras_smooth.compare(["tanh"], epochs=1),
}


@pytest.mark.parametrize("autograph", [True, False])
@pytest.mark.parametrize("name", EAGER_ONLY)
def test_functions_that_compute_with_values_refuse_graphs(name, autograph, make_model):
    model = make_model()

    @tf.function(autograph=autograph)
    def in_a_graph():
        EAGER_ONLY[name](model)

    with pytest.raises(ValueError, match=f"{name} was called in a graph"):
        in_a_graph()
