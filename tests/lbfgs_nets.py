"""Small nets and data for tests of `fit_lbfgs`: 13 weights and 20 rows, traced in half a second."""

import functools
import inspect

import keras
import numpy as np

import keras_smooth
from keras_smooth.lbfgs.checks.model import check_fittable
from keras_smooth.lbfgs.request import Request
from keras_smooth.lbfgs.run.fit_problem import FitProblem
from keras_smooth.models.tracing import traced

X = np.random.default_rng(0).normal(size=(20, 2))
Y = np.sin(X.sum(axis=1, keepdims=True))
WEIGHTS = np.random.default_rng(1).uniform(0.0, 2.0, 20)


def dense(units, activation=None, seed=0, **arguments):
    start = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Dense(units, activation, kernel_initializer=start, **arguments)


def net(*between, dtype="float64", loss="mse", head=None, **arguments):
    """Returns a compiled net with fixed initial weights.

    Args:
        between: Layers before the last one.
        dtype: The dtype of all layers.
        loss: The loss.
        head: The last layer, or None for one unit.
        arguments: Further arguments of `compile`.
    """
    head = head or dense(1, seed=2, dtype=dtype)
    layers = [dense(3, "tanh", 1, dtype=dtype), *between, head]
    model = keras.Sequential([keras.Input((2,), dtype=dtype), *layers])
    # This is for Keras' evaluate, which would compile for a second. fit_lbfgs has its own argument.
    model.compile(**{"loss": loss, "jit_compile": False, **arguments})
    return model


def two_nets(as_dicts=True):
    """Returns a compiled model with two inputs and two outputs, in dicts or in lists."""
    a, b = (keras.Input((2,), name=name, dtype="float64") for name in "ab")
    p, q = (
        dense(1, "tanh", seed, dtype="float64", name=name)(tensor)
        for seed, (name, tensor) in enumerate(zip("pq", (a, b)))
    )
    if as_dicts:
        model = keras.Model({"a": a, "b": b}, {"p": p, "q": q})
        model.compile(loss={"p": "mse", "q": "mae"}, jit_compile=False)
    else:
        model = keras.Model([a, b], [p, q])
        model.compile(loss=["mse", "mae"], jit_compile=False)
    return model


@functools.cache
def _model_and_start(make):
    model = make()
    return model, model.get_weights()


def at_start(make=net):
    """Returns a model with its initial weights, always the same object, so that fits share a trace."""
    model, start = _model_and_start(make)
    model.set_weights(start)
    return model


def fit(model, x=X, y=Y, **arguments):
    arguments = {"verbose": 0, "epochs": 5, "jit_compile": False, **arguments}
    return keras_smooth.fit_lbfgs(model, x, y, **arguments)


def request(model, x=X, y=Y, **changed):
    """Returns the request of a short fit."""
    parameters = inspect.signature(keras_smooth.fit_lbfgs).parameters
    default = {name: parameter.default for name, parameter in parameters.items()}
    short = {"num_correction_pairs": 5, "epochs": 5, "jit_compile": False}
    return Request(**{**default, **short, "model": model, "x": x, "y": y, **changed})


def problem(model, x=X, y=Y, **arguments):
    """Returns the problem of a fit after all checks, without tracing a minimizer."""
    fit_request = request(model, x, y, **arguments)
    check_fittable(fit_request)
    return FitProblem(fit_request, *fit_request.read())


def loss_at_start(model, x=X, y=Y, **arguments):
    """Returns the loss at the start of a fit, and its gradient."""
    fit_problem = problem(model, x, y, **arguments)
    # In a graph, as in a fit.
    compute = traced(fit_problem.objective.value_and_gradient)
    value, gradient = compute(fit_problem.start(), fit_problem.points.parts)
    return float(value), np.asarray(gradient)


def same_weights(first, second):
    return all(
        np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights())
    )
