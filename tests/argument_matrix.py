"""Every argument of every public function with a table of wrong values.

    python tests/argument_matrix.py                    # all functions, with all faults
    python tests/argument_matrix.py derivatives audit  # some functions

A wrong value has to raise a `TypeError` or `ValueError` of this package that names the
argument. The values that are valid for an argument are in the row of the function.
`tests/test_arguments.py` requires that there are no faults.
"""

import contextlib
import dataclasses
import functools
import io
import math
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
import tensorflow as tf
from own_errors import is_ours, origin

import keras_smooth
from keras_smooth import activations, initializers

OWN_ERROR = "raised by the user's own function"


class Plain:
    """An object that is valid for no argument."""


@functools.cache
def built_model(inputs: int = 1, units: int = 1, dtype: str = "float64") -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((inputs,), dtype=dtype),
            keras_smooth.Dense(units, "tanh", dtype=dtype),
        ]
    )
    model.compile(loss="mse")
    return model


def of_two_inputs() -> keras.Model:
    a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
    return keras.Model([a, b], keras.layers.Dense(1)(keras.layers.concatenate([a, b])))


# Label: makes the value, so that no call receives a value that another call has changed.
WRONG: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "False": lambda: False,
    "0": lambda: 0,
    "1": lambda: 1,
    "2": lambda: 2,
    "-3": lambda: -3,
    "10**30": lambda: 10**30,
    "1.5": lambda: 1.5,
    "2.0": lambda: 2.0,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "-inf": lambda: -math.inf,
    "1j": lambda: 1j,
    "text": lambda: "no such thing",
    "empty text": lambda: "",
    "NUL": lambda: "a\0b",
    "bytes": lambda: b"bytes",
    "empty list": lambda: [],
    "empty dict": lambda: {},
    "list of None": lambda: [None, None],
    "list of text": lambda: ["a", "b"],
    "uneven list": lambda: [[1.0, 2.0], [3.0]],
    "list of arrays": lambda: [np.ones((3, 1)), np.ones((3, 1))],
    "dict of arrays": lambda: {"p": np.ones((3, 1)), "q": np.ones((3, 1))},
    "dict of None": lambda: {"p": None},
    "set": lambda: {1.0, 2.0},
    "generator": lambda: (i for i in range(3)),
    "object": Plain,
    "class": lambda: Plain,
    "module": lambda: math,
    "function of nothing": lambda: lambda: 1.0,
    "function that raises": lambda: _raises,
    "function of text": lambda: lambda *_: "text",
    "function of None": lambda: lambda *_: None,
    "array of no axes": lambda: np.array(1.0),
    "empty array": lambda: np.ones((0, 1)),
    "vector": lambda: np.ones(3),
    "five wide": lambda: np.ones((3, 5)),
    "seven rows": lambda: np.ones((7, 1)),
    "four axes": lambda: np.ones((3, 1, 1, 1)),
    "integers": lambda: np.ones((3, 1), "int64"),
    "truths": lambda: np.ones((3, 1), bool),
    "complex": lambda: np.ones((3, 1), "complex128"),
    "strings": lambda: np.full((3, 1), "a"),
    "objects": lambda: np.array([[Plain()], [None], [1.0]], object),
    "dates": lambda: np.array([["2020-01-01"]] * 3, "datetime64[D]"),
    "with nan": lambda: np.array([[1.0], [math.nan], [1.0]]),
    "with inf": lambda: np.array([[1.0], [math.inf], [1.0]]),
    "ragged": lambda: tf.ragged.constant([[1.0], [1.0, 2.0]]),
    "sparse": lambda: tf.sparse.from_dense(np.eye(3)),
    "dataset": lambda: tf.data.Dataset.range(3),
    "unbuilt model": lambda: keras.Sequential([keras.layers.Dense(1)]),
    "uncompiled model": lambda: keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1)]
    ),
    "model of two inputs": of_two_inputs,
    "unbuilt layer": lambda: keras.layers.Dense(1),
    "symbolic": lambda: keras.Input((1,)),
}


def _raises(*_: Any, **__: Any) -> None:
    raise ArithmeticError(OWN_ERROR)


@dataclasses.dataclass(frozen=True)
class Call:
    """A valid call of a function, and the values of the table that are valid as well.

    Args:
        function: The function, which is called with keyword arguments.
        arguments: Returns the arguments of a valid call.
        allowed: For each argument that is tested, the labels of the values that are valid.
        names_in_messages: For some arguments, other names that messages may have.
    """

    function: Callable
    arguments: Callable[[], dict[str, Any]]
    allowed: dict[str, str]
    names_in_messages: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a call with a wrong value; `fault` is empty if the error is right."""

    function: str
    argument: str
    label: str
    fault: str

    def __str__(self) -> str:
        return f"{self.function}({self.argument}={self.label}): {self.fault}"


def outcomes(name: str, labels: Any = None) -> Iterator[Outcome]:
    """Yields the outcome of each wrong value of each argument of a function."""
    call = CALLS[name]
    for argument, allowed in call.allowed.items():
        allowed_labels = {label.strip() for label in allowed.split(",")}
        unknown = allowed_labels - WRONG.keys() - {""}
        assert not unknown, f"{name}: {argument}: {unknown}"
        for label in labels or WRONG:
            if label not in allowed_labels:
                yield Outcome(name, argument, label, _fault(call, argument, label))


def _fault(call: Call, argument: str, label: str) -> str:
    names = (argument, *call.names_in_messages.get(argument, ()))
    try:
        with _quiet():
            call.function(**{**call.arguments(), argument: WRONG[label]()})
    except Exception as error:
        return _fault_of(error, names)
    return "accepted"


def _fault_of(error: Exception, names: tuple[str, ...]) -> str:
    message = str(error)
    if OWN_ERROR in message:  # Errors of the user's function are passed on to the user.
        return ""
    if type(error) not in (TypeError, ValueError):
        return f"{type(error).__name__}: {message[:200]}"
    if not is_ours(error):
        return f"raised in {origin(error).name}: {message[:200]}"
    if not any(re.search(rf"\b{re.escape(name)}\b", message) for name in names):
        return f"names no argument: {message[:200]}"
    if len(message) > 700 or "function_node" in message or "Traceback" in message:
        return f"too long or raw: {message[:300]}"
    return ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    working_directory = os.getcwd()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        tempfile.TemporaryDirectory() as folder,
    ):
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(working_directory)


# Operators do not change a model, so that one model is enough for thousands of values.
_shared_model = functools.cache(built_model)


def _operator(**arguments: Any) -> dict[str, Any]:
    return {"model": _shared_model(), "x": _data(), **arguments}


def _data() -> np.ndarray:
    return np.linspace(0.1, 0.9, 3)[:, None]


def _residual(model: keras.Model, x: Any) -> Any:
    return keras.ops.mean(keras.ops.square(model(x)))


def _mean_of_points(x: Any) -> Any:
    return keras.ops.exp(-(x**2))


def _save_comparison(directory: Any) -> None:
    _comparison().save(directory)


@functools.cache
def _comparison() -> keras_smooth.Comparison:
    with _quiet():
        return keras_smooth.compare(["tanh"], 1, epochs=1, architecture="1x2")


_NUMBERS = "0, 1, 2, -3, 10**30, 1.5, 2.0"
_POSITIVE = "1, 2, 10**30, 1.5, 2.0"
_COUNTS = "1, 2"
_TRUTHS = "True, False"
# Functions of the user are not checked before a fit calls them.
_FUNCTIONS = "function that raises, function of text, function of None"
_NESTS = (
    "empty list, empty dict, list of arrays, dict of arrays, array of no axes, vector, "
    "five wide, four axes, integers, truths"
)
# Keras accepts layers as activations.
_LAYERS = "None, unbuilt layer, unbuilt model, uncompiled model, model of two inputs"
_X = ("x", "points", "samples")
_COMMON = {
    "model": "uncompiled model, unbuilt layer",
    "x": "seven rows",
    "wrt": "None, 0",
    "engine": "",
    "batch_size": f"None, {_COUNTS}",
    "verify": _TRUTHS,
}


_WITHOUT_WRT = {key: value for key, value in _COMMON.items() if key != "wrt"}
# `probes` requires `seed`, and `seed` requires `probes`.
_PROBES = {"probes": "None", "seed": "None"}


def _derivative_call(function: Callable, allowed: dict[str, str], **arguments: Any) -> Call:
    return Call(
        function,
        lambda: {"model": built_model(), "x": _data(), **arguments},
        {**_COMMON, **allowed},
        {"x": _X, "velocity": ("velocity", "model"), "vector": ("vector", "model")},
    )


CALLS: dict[str, Call] = {
    "derivatives": _derivative_call(
        keras_smooth.derivatives, {"order": "0, 1, 2", "training": _TRUTHS}
    ),
    **{
        name: _derivative_call(getattr(keras_smooth, name), {})
        for name in ("gradient", "jacobian", "hessian", "vector_laplacian")
    },
    **{
        name: _derivative_call(getattr(keras_smooth, name), _PROBES)
        for name in ("laplacian", "biharmonic", "divergence")
    },
    "curl": Call(
        keras_smooth.curl,
        lambda: {"model": built_model(2, 2), "x": np.ones((3, 2))},
        _COMMON,
        {"x": _X},
    ),
    "advection": _derivative_call(
        keras_smooth.advection,
        {"velocity": "integers, uncompiled model, unbuilt layer"},
        velocity=np.ones((3, 1)),
    ),
    "hessian_vector_product": _derivative_call(
        keras_smooth.hessian_vector_product,
        {"vector": "integers, uncompiled model, unbuilt layer"},
        vector=np.ones((3, 1)),
    ),
    "partials": Call(
        keras_smooth.partials,
        lambda: {"model": built_model(), "x": _data(), "which": ["xx"], "names": "x"},
        {**_WITHOUT_WRT, "which": "", "names": ""},
        {"x": _X, "names": ("names",), "which": ("which",)},
    ),
    "plan": Call(
        keras_smooth.plan,
        lambda: {"model": built_model(), "x": _data(), "which": ["xx"], "names": "x"},
        {
            "model": f"{_COMMON['model']}, {_FUNCTIONS}",
            "x": _COMMON["x"],
            "engine": "",
            "which": "",
            "names": "",
        },
        {"x": _X, "names": ("names",), "which": ("which",)},
    ),
    "linear_operator": Call(
        keras_smooth.linear_operator,
        lambda: {
            "model": built_model(),
            "x": _data(),
            "operator": {"xx": 1.0},
            "names": "x",
        },
        {**_WITHOUT_WRT, **_PROBES, "operator": "", "names": ""},
        {"x": _X, "names": ("names",), "operator": ("operator",)},
    ),
    "directional": _derivative_call(
        keras_smooth.directional,
        {"direction": "integers", "order": "1, 2"},
        direction=np.ones((3, 1)),
    ),
    "DerivativeModel": Call(
        keras_smooth.DerivativeModel,
        lambda: {"model": built_model()},
        {"model": "uncompiled model", "order": "1, 2", "engine": "", "second": ""},
    ),
    "DerivativeMonitor": Call(
        keras_smooth.DerivativeMonitor,
        # With a function as `reference`, each value would be differentiated again.
        lambda: {"x": _data(), "reference": [_data(), _data(), _data()]},
        {
            # Shapes are compared with the model when the training begins.
            "x": "vector, five wide, seven rows, four axes, list of arrays, dict of arrays",
            "reference": "uncompiled model",
            "order": "0, 1, 2",
            "metric": _FUNCTIONS,
            "every": _COUNTS,
            "prefix": "text, empty text, NUL",
            "also": "empty list",
            "log_dir": "None, text",
            "live": _TRUTHS,
            "figure_every": f"None, {_COUNTS}",
        },
        {"x": _X},
    ),
    "audit": Call(
        keras_smooth.audit,
        lambda: {"model": built_model(), "x": _data()},
        {
            "model": "uncompiled model, unbuilt layer, unbuilt model",
            "x": "None, seven rows, integers, truths",
            "order": "1, 2",
            "progress": f"None, {_FUNCTIONS}",
        },
        {"x": _X},
    ),
    "smoothen": Call(
        keras_smooth.smoothen,
        lambda: {"model": built_model(), "x": _data()},
        {
            "model": "uncompiled model",
            "x": "None, seven rows, integers, truths",
            "order": "0, 1, 2",
            "sharpness": _POSITIVE,
            "replacements": "None, empty dict",
        },
        {"x": _X},
    ),
    "standardized": Call(
        keras_smooth.standardized,
        lambda: {"model": built_model(), "x": _data()},
        {
            "model": "uncompiled model",
            "x": "seven rows, integers, truths",
            "y": "None, vector, seven rows, integers",
        },
        {"x": _X, "y": ("`y`",)},
    ),
    "output_change": Call(
        keras_smooth.output_change,
        lambda: {"before": built_model(), "after": built_model(), "x": _data()},
        {
            "before": "uncompiled model, unbuilt layer",
            "after": "uncompiled model, unbuilt layer",
            "x": "seven rows, integers, truths",
        },
        {"x": _X},
    ),
    "smoothness": Call(
        lambda obj: keras_smooth.smoothness(obj),
        lambda: {"obj": "tanh"},
        {
            "obj": "class, unbuilt model, uncompiled model, model of two inputs, "
            f"unbuilt layer, function of nothing, {_FUNCTIONS}"
        },
        {"obj": ("smoothness", "activation")},
    ),
    "register_smoothness": Call(
        keras_smooth.register_smoothness,
        lambda: {"subject": lambda x: x, "smoothness": 2},
        {
            "subject": f"class, function of nothing, {_FUNCTIONS}",
            "smoothness": f"inf, 0, 1, 2, 10**30, {_FUNCTIONS}, function of nothing",
            "breakpoints": "empty list, set, generator, empty array, vector",
            "joints": "None, empty list, set, generator, empty array, vector",
            "reason": "text, empty text, NUL",
        },
        {"joints": ("breakpoints",)},
    ),
    "register_jet_rule": Call(
        keras_smooth.register_jet_rule,
        lambda: {"subject": lambda x: x, "rule": lambda layer, jet: jet},
        {
            "subject": f"class, function of nothing, {_FUNCTIONS}",
            "rule": f"function of nothing, {_FUNCTIONS}",
        },
    ),
    "activations.get": Call(
        activations.get,
        lambda: {"identifier": "tanh"},
        {"identifier": f"function of nothing, {_LAYERS}, {_FUNCTIONS}"},
        {"identifier": ("activation",)},
    ),
    "initializers.gain": Call(
        initializers.gain,
        lambda: {"activation": "tanh"},
        {"activation": _LAYERS},
    ),
    "initializers.GainScaling": Call(
        initializers.GainScaling,
        lambda: {"activation": "tanh"},
        {"activation": _LAYERS},
    ),
    "Activation": Call(
        keras_smooth.Activation,
        lambda: {"activation": "tanh"},
        {
            "activation": f"function of nothing, {_LAYERS}, {_FUNCTIONS}",
            "order": "0, 1, 2",
        },
    ),
    "Dense": Call(
        keras_smooth.Dense,
        lambda: {"units": 1, "activation": "tanh"},
        {"order": "0, 1, 2", "units": _COUNTS},
    ),
    "Resample": Call(
        keras_smooth.Resample,
        lambda: {"draw": lambda model, x, generator: x},
        {"draw": _FUNCTIONS, "every": _COUNTS, "seed": "0, 1, 2"},
    ),
    "choose_by_residual": Call(
        keras_smooth.choose_by_residual,
        lambda: {
            "points": np.ones((9, 1)),
            "residual": np.linspace(0.0, 1.0, 9),
            "num_points": 2,
            "generator": np.random.default_rng(0),
        },
        {
            "points": "",
            "residual": "",
            "num_points": _COUNTS,
            "generator": "",
            "power": f"0, {_POSITIVE}",
            "offset": f"0, {_POSITIVE}",
        },
    ),
    "fit_lbfgs": Call(
        keras_smooth.fit_lbfgs,
        lambda: {
            "model": built_model(),
            "x": _data(),
            "y": _data(),
            "epochs": 2,
            "jit_compile": False,
            "verbose": 0,
        },
        {
            "model": "",
            "x": "vector, integers, truths",
            "y": "vector, integers, truths",
            "objective": "None",
            "loss_weights": "None",
            "variables": "empty list",
            "resample": "None",
            "sample_weight": "None, vector, integers, truths",
            "class_weight": "None, empty dict",
            "batch_size": f"None, {_COUNTS}",
            "epochs": _COUNTS,
            "initial_epoch": "0, 1",
            "validation_data": "None, list of arrays",
            "validation_split": "0",
            "method": "",
            "num_correction_pairs": f"None, {_COUNTS}",
            "dtype": "None",
            "tolerance": f"0, {_POSITIVE}",
            "target": f"None, {_NUMBERS}",
            "relative": _TRUTHS,
            "max_seconds": f"None, 0, {_POSITIVE}",
            "max_restarts": "0, 1, 2",
            "steps_per_execution": f"None, {_COUNTS}",
            "callbacks": "None, empty list",
            "verbose": f"0, 1, 2, {_TRUTHS}",
            "jit_compile": _TRUTHS,
            "checkpoint": "None, text",
            "throw": _TRUTHS,
        },
        {"y": ("y", "targets"), "validation_data": ("validation_data",)},
    ),
    "fit_lbfgs of an objective": Call(
        keras_smooth.fit_lbfgs,
        lambda: {
            "model": built_model(),
            "x": _data(),
            "objective": _residual,
            "epochs": 2,
            "jit_compile": False,
            "verbose": 0,
        },
        {
            # Any structure is valid, since only the objective uses it.
            "x": f"seven rows, {_NESTS}",
            "y": "None",
            "objective": f"None, {_FUNCTIONS}",
            "loss_weights": "None, empty dict",
            "variables": "empty list",
            "resample": "None",
            "sample_weight": "None",
            "class_weight": "None",
            "validation_data": f"None, seven rows, {_NESTS}",
        },
    ),
    "compare": Call(
        keras_smooth.compare,
        lambda: {
            "activations": ["tanh"],
            "seeds": 1,
            "epochs": 1,
            "architecture": "1x2",
            "verbose": 0,
        },
        {
            "activations": "None",
            "seeds": _COUNTS,
            "epochs": _COUNTS,
            "method": "",
            "initializer": "",
            "dtype": "",
            "device": "",
            "problem": "uncompiled model",
            "architecture": "",
            "baselines": "empty list",
            "beside": "None, empty list",
            "noise": f"0, {_POSITIVE}",
            "jobs": f"None, {_COUNTS}",
            "executor": "",
            "address": "None",
            "out": "None, text",
            "resume": "False",
            "verbose": f"0, {_COUNTS}",
            "handle": f"None, {_FUNCTIONS}",
        },
        {
            "activations": ("activation",),
            "baselines": ("method",),
            "beside": ("baselines",),
            "problem": ("own data",),
        },
    ),
    "compare of a function": Call(
        keras_smooth.compare,
        lambda: {
            "activations": ["tanh"],
            "seeds": 1,
            "epochs": 1,
            "architecture": "1x2",
            "problem": _mean_of_points,
        },
        {"domain": ""},
    ),
    "Comparison.save": Call(
        _save_comparison, lambda: {"directory": "found"}, {"directory": "text"}
    ),
}


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(CALLS)
    for chosen_name in chosen:
        results = list(outcomes(chosen_name))
        faults = [outcome for outcome in results if outcome.fault]
        print(
            f"# {chosen_name}: {len(results) - len(faults)} sentences, {len(faults)} faults"
        )
        print(*faults, sep="\n")
