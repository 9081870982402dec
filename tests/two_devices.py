"""Compares fits under MirroredStrategy on two logical CPUs with one device, as a JSON line."""

import contextlib
import json
import tempfile

import keras
import numpy as np
import tensorflow as tf
from lbfgs_nets import request

import keras_smooth
from keras_smooth.lbfgs.data.data_reader import ReadOptions, read_data
from keras_smooth.lbfgs.run.fit_problem import FitProblem
from keras_smooth.lbfgs.run.program import ScaledData

# This must come before the first operation of TensorFlow.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], 2 * [tf.config.LogicalDeviceConfiguration()]
)
X = np.random.default_rng(0).normal(size=(37, 2))
Y = np.sin(X.sum(axis=1, keepdims=True))
WEIGHTS = np.linspace(0.0, 2.0, 37)
SUM = keras.losses.MeanSquaredError(reduction="sum", dtype="float64")


def net(loss="mse", metrics=None, dtype="float64", extra=(), penalty=None):
    model = keras.Sequential([keras.Input((2,), dtype=dtype)])
    for seed, units in enumerate((6, 6, 1)):
        start = keras.initializers.GlorotUniform(seed=seed)
        model.add(
            keras.layers.Dense(
                units,
                "tanh" if seed < 2 else None,
                kernel_initializer=start,
                kernel_regularizer=penalty,
                dtype=dtype,
            )
        )
        for layer in extra if seed == 1 else ():
            model.add(layer)
    model.compile(loss=loss, metrics=metrics)
    return model


def normalization(trainable):
    layer = keras.layers.BatchNormalization(dtype="float64", trainable=trainable)
    return net(extra=[layer])


def batches():
    return (tf.data.Dataset.from_tensor_slices((X, Y)).batch(4),)


class PenalizedModel(keras.Model):
    """A model whose `compute_loss` adds to the compiled loss."""

    def __init__(self):
        super().__init__()
        self.inner = net()

    def call(self, x):
        return self.inner(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        compiled = super().compute_loss(x, y, y_pred, sample_weight, training)
        return compiled + keras.ops.mean(self.inner(2.0 * x) ** 2)


def penalized_model():
    model = PenalizedModel()
    model(X)
    model.compile(loss="mse")
    return model


# Name: model, data, batch size, whether XLA compiles it.
VALUES = {
    "mean": (net, (X, Y), None, False),
    "batches, weights": (net, (X, Y, WEIGHTS), 5, False),
    "stream": (net, batches(), 5, True),
    "short stream": (net, batches(), 36, False),
    "sum": (lambda: net(SUM), (X, Y), 5, False),
    "penalty": (lambda: net(penalty=keras.regularizers.L2(0.1)), (X, Y), None, False),
    "own loss": (penalized_model, (X, Y), None, False),
    "frozen": (lambda: normalization(False), (X, Y), 5, True),
}
# Name: model, arguments of fit_lbfgs.
FITS = {
    "metrics": (
        lambda: net(metrics=["mae", keras.metrics.MeanSquaredError(name="mse")]),
        {"validation_data": (X[:11] + 0.1, Y[:11]), "batch_size": 10},
    ),
    "float64 copy": (
        lambda: net(dtype="float32"),
        {"dtype": "float64", "validation_data": batches()[0]},
    ),
    "dense matrix": (net, {"method": "bfgs", "validation_data": batches()[0]}),
}
ERRORS = {
    "fewer rows": (net, (X[:1], Y[:1])),
    "normalization": (lambda: normalization(True), (X, Y)),
    "dropout": (lambda: net(extra=[keras.layers.Dropout(0.5, seed=0)]), (X, Y)),
}


def both_models(make, strategy):
    for scope in (contextlib.nullcontext, strategy.scope):
        with scope():
            model = make()
        yield model


def value_and_gradient(model, data, batch_size, jit_compile):
    data = read_data(*data, *(3 - len(data)) * [None], ReadOptions("float64", batch_size))
    fit_request = request(model, batch_size=batch_size, jit_compile=jit_compile)
    problem = FitProblem(fit_request, data)
    scaled = ScaledData(problem.data, tf.ones((), "float64"))
    state = problem.program.minimize("begin", problem.start(), scaled)
    return np.append(state.objective_gradient, state.objective_value)


def difference(a, b):
    """Returns the largest difference of arrays, relative to the largest entry."""
    a, b = np.asarray(a), np.asarray(b)
    return float(np.abs(a - b).max() / np.abs(a).max())


def fit(model, data=(X, Y), **arguments):
    arguments = {"epochs": 8, "steps_per_execution": 4, **arguments}
    return keras_smooth.fit_lbfgs(model, *data, verbose=0, jit_compile=False, **arguments)


def histories(make, arguments, strategy):
    single, mirrored = (
        fit(model, **arguments).history for model in both_models(make, strategy)
    )
    return {name: difference(single[name], mirrored[name]) for name in single}


def terms(model, x):
    slope = keras_smooth.gradient(model, x["inside"])
    return {
        "slope": keras.ops.mean((slope - 0.5) ** 2),
        "edge": keras.ops.mean(model(x["edge"]) ** 2),
    }


def product(model, x):
    """An objective that is neither an average over rows nor a sum."""
    return {"product": keras.ops.mean(model(x["inside"])) ** 2 + keras.ops.mean(x["edge"])}


POINTS = {"inside": X[:36], "edge": X[:4]}


def fit_terms(model, x=POINTS, objective=terms):
    arguments = {"epochs": 8, "steps_per_execution": 4, "verbose": 0, "jit_compile": False}
    arguments["loss_weights"] = {"edge": 3.0} if objective is terms else None
    return keras_smooth.fit_lbfgs(model, x, objective=objective, **arguments)


def objectives(strategy):
    """Returns the differences of histories, and the error for points that cannot be split."""
    single, mirrored = (
        fit_terms(model).history for model in both_models(lambda: net(None), strategy)
    )
    results = {name: difference(single[name], mirrored[name]) for name in single}
    for x, objective in (({**POINTS, "edge": X[:3]}, terms), (POINTS, product)):
        with strategy.scope():
            model = net(None)
        try:
            fit_terms(model, x, objective)
        except ValueError as exception:
            results[objective.__name__] = str(exception)
    return results


def error_message(make, data, strategy):
    with strategy.scope():
        model = make()
    try:
        return fit(model, data).result.message
    except ValueError as exception:
        return str(exception)


def inside(strategy):
    with strategy.scope():
        return error_message(net, (X, Y), strategy)


def resumed(strategy):
    """Returns whether an interrupted fit continues bit for bit, and on one device."""
    with strategy.scope():
        model = net()
    start = model.get_weights()
    uninterrupted = fit(model)
    weights = model.get_weights()
    model.set_weights(start)
    with tempfile.TemporaryDirectory() as directory:
        fit(model, epochs=4, checkpoint=directory)
        model.set_weights(start)
        continued = fit(model, checkpoint=directory)
        single = fit(net(), checkpoint=directory)
    same = all(np.array_equal(*pair) for pair in zip(weights, model.get_weights()))
    return same and continued.history == uninterrupted.history, single.result.nit


def main():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    values = {
        name: difference(
            *(value_and_gradient(m, *rest) for m in both_models(make, strategy))
        )
        for name, (make, *rest) in VALUES.items()
    }
    report = {
        "values": values,
        "fits": {name: histories(*row, strategy) for name, row in FITS.items()},
        "errors": {name: error_message(*row, strategy) for name, row in ERRORS.items()},
        "objectives": objectives(strategy),
        "inside": inside(strategy),
        "resumed": resumed(strategy),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
