"""Manners of fit_lbfgs: nothing of Keras is touched, and what cannot be is said in a sentence."""

import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from lbfgs_nets import X, Y, dense, fit, net

# Nothing of Keras is touched.


class Own(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        return loss + keras.ops.mean(y_pred**2)


def own():
    layers = net()
    model = Own(layers.inputs, layers.outputs[0])
    model.compile(loss="mse")
    return model


def failing(y_true, y_pred):
    raise MemoryError


# Name: model, arguments, whether it ends in an error.
FITS = {
    "float64": (net, {}, None),
    "copy": (lambda: net(dtype="float32"), {"dtype": "float64"}, None),
    "own loss": (own, {}, None),
    "instance": (lambda: net(loss=keras.losses.Huber()), {}, None),
    "failing": (lambda: net(loss=failing), {}, MemoryError),
    "bad data": (net, {"y": Y[:3]}, ValueError),
}


@pytest.fixture
def untouched(monkeypatch):
    def touched(*_):
        raise AssertionError("a global of Keras was set")

    for name in ("set_floatx", "set_dtype_policy", "set_epsilon"):
        monkeypatch.setattr(keras.config, name, touched)
    monkeypatch.setattr(keras.backend, "set_floatx", touched)


@pytest.mark.parametrize("name", FITS)
def test_no_global_of_keras_is_touched(name, untouched):
    make, arguments, error = FITS[name]
    if error is None:
        assert fit(make(), epochs=2, **arguments).result.nit == 2
    else:
        with pytest.raises(error):
            fit(make(), **arguments)


def test_fits_in_threads(untouched):
    """Each gives what it gives alone, to the last digit; failing ones leave no trace."""
    names = [name for name, row in FITS.items() if row[2] is None]
    expected = {name: fit(FITS[name][0](), **FITS[name][1]).result.fun for name in names}
    models = [(name, FITS[name][0]()) for name in [*names, "failing", "bad data"] * 2]
    found, seen = [], set()

    def job(name, model):
        try:
            found.append((name, fit(model, **FITS[name][1]).result.fun))
        except (MemoryError, ValueError):
            found.append((name, None))
        seen.add(keras.config.floatx())
        seen.add(keras.layers.Dense(1).dtype)

    threads = [threading.Thread(target=job, args=pair) for pair in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == sorted(
        ((name, expected.get(name)) for name, _ in models), key=str
    )
    assert seen == {"float32"} == {keras.config.floatx()}


# What XLA cannot compile.


class OfPython(keras.layers.Layer):
    """A layer whose numbers come from Python."""

    def call(self, x):
        twice = tf.numpy_function(lambda array: 2.0 * array, [x], x.dtype)
        return x + tf.ensure_shape(tf.stop_gradient(twice - 2.0 * x), x.shape)


class SaysNo(keras.layers.Layer):
    """A layer that says so itself, as Keras' own do."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.supports_jit = False

    def call(self, x):
        return 2.0 * x


def spectral():
    return keras.layers.SpectralNormalization(
        dense(3, "tanh", dtype="float64"), dtype="float64"
    )


def printing(y_true, y_pred):
    tf.py_function(lambda: None, [], [])
    return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


# Name: model, data; each in memory, in batches of a stream, and of equations.
NOT_FOR_XLA = {
    "Python": lambda: net(OfPython(dtype="float64")),
    "says no": lambda: net(SaysNo(dtype="float64")),
    "spectral": lambda: net(spectral()),
    "loss": lambda: net(loss=printing),
}


@pytest.mark.parametrize("name", NOT_FOR_XLA)
def test_what_xla_cannot_compile_is_run_without_it_with_one_warning(name):
    model = NOT_FOR_XLA[name]()
    start = [np.array(v) for v in model.variables]

    def run(jit_compile):
        for variable, value in zip(model.variables, start):
            variable.assign(value)
        return fit(model, jit_compile=jit_compile).result.fun

    expected = run(False)
    with pytest.warns(UserWarning, match="XLA cannot compile.*jit_compile=False"):
        assert run(True) == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert run(True) == expected


def test_streams_and_objectives_that_xla_cannot_compile():
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(7)
    with pytest.warns(UserWarning, match="XLA cannot compile"):
        found = fit(
            net(OfPython(dtype="float64")), stream, None, batch_size=6, jit_compile=True
        )
    assert found.result.nit == 5

    def function(model, x):
        return keras.ops.mean(OfPython(dtype="float64")(model(x)) ** 2)

    model = net(loss=None)
    with pytest.warns(UserWarning, match="XLA cannot compile"):
        assert fit(model, X, None, objective=function, jit_compile=True).result.nit == 5


def test_an_error_of_the_models_own_is_no_refusal():
    class Broken(keras.layers.Layer):
        def call(self, x):
            tf.debugging.assert_less(tf.reduce_max(tf.abs(x)), tf.constant(0.5, x.dtype))
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(tf.errors.InvalidArgumentError):
            fit(net(Broken(dtype="float64")), jit_compile=True)


# What cannot be trained.


def positive(**arguments):
    return net(dense(3, dtype="float64", **arguments))


CONSTRAINTS = {
    "kernel": ({"kernel_constraint": "non_neg"}, "kernel has the constraint NonNeg"),
    "bias": ({"bias_constraint": keras.constraints.MaxNorm(1.0)}, "bias has .* MaxNorm"),
    "own": (
        {"kernel_constraint": lambda w: keras.ops.clip(w, 0.0, 1.0)}, "the constraint function",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_are_refused(name):
    arguments, words = CONSTRAINTS[name]
    model = positive(**arguments)
    with pytest.raises(ValueError, match=f"{words}.*L-BFGS cannot keep"):
        fit(model)
    # Frozen weights keep theirs by themselves.
    model.layers[1].trainable = False
    model.compile(loss="mse")
    assert fit(model).result.nit == 5


def test_a_constraint_of_a_variable_is_refused():
    rate = keras.Variable(1.0, dtype="float64")
    rate.constraint = keras.constraints.NonNeg()
    with pytest.raises(ValueError, match="NonNeg.*L-BFGS cannot keep"):
        fit(net(loss=None), X, None, objective=lambda m, x: rate, variables=[rate])
