"""Manners of fit_lbfgs: nothing of Keras is touched, and what cannot be is said in a sentence."""

import threading

import keras
import pytest
from lbfgs_nets import Y, fit, net

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
