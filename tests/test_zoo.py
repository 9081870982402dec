"""Every public function returns right numbers for every model of the zoo, or refuses it."""

import fnmatch
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import richardson
import tensorflow as tf
from looped import each
from zoo import ZOO
from zoo_columns import COLUMNS, FUNCTION_OF_COLUMN, case_of
from zoo_table import columns_of, difference, outcome, refusal

import keras_smooth

# Every run has all columns for a few models. The slow tests have the cheap columns for all
# models, and all columns for a few more. `pytest -m study tests/test_zoo.py` runs the rest.
# The cheap columns of a model are one item, and so are the columns of a study.
SHORT = (
    "arithmetic", "inputs in a dict", "float32",
    "subclassed without config", "Python flags",
)  # fmt: skip
SLOW = (
    "normalized layers", "a stateful recurrence", "a recomputed gradient",
    "quantized to float8", "text beside floats",
)  # fmt: skip
COSTLY = (
    "audit", "by the weights", "Derivative*", "fit_lbfgs *", "saved", "tf.function *", "verify",
)  # fmt: skip


def _is_cheap(column: str) -> bool:
    return not any(fnmatch.fnmatch(column, pattern) for pattern in COSTLY)


def _items() -> Iterator[Any]:
    """Yields models with the columns that are tested in one item."""
    for name in ZOO:
        cheap, costly = [], []
        for column in columns_of(name):
            (cheap if _is_cheap(column) else costly).append(column)
        mark = [] if name in SHORT else pytest.mark.slow
        yield pytest.param(name, cheap, marks=mark, id=f"{name}-what costs little")
        if name in SHORT + SLOW:
            for column in costly:
                yield pytest.param(name, [column], marks=mark, id=f"{name}-{column}")
        else:
            yield pytest.param(name, costly, marks=pytest.mark.study, id=f"{name}-costly")


# Known faults and their reasons; a fault that is fixed has to be removed from the list.
KNOWN_FAULTS: dict[tuple[str, str], str] = {}


@pytest.mark.parametrize(("name", "columns"), _items())
def test_columns_are_right_or_refused(name, columns):
    @each("column", columns)
    def is_right_or_refused(column):
        result = outcome(name, column)
        if (name, column) in KNOWN_FAULTS:
            assert result.kind == "fault", "It is mended: take it out of KNOWN_FAULTS."
        else:
            assert result.kind != "fault", result.text

    is_right_or_refused()


def test_items_have_each_column_of_each_model_once():
    items = [item.values for item in _items()]
    pairs = [(name, column) for name, columns in items for column in columns]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(name, column) for name in ZOO for column in columns_of(name)}


# Public names that are not functions of a model, and what they are instead.
WITHOUT_A_MODEL = {
    "activations": "a module", "initializers": "a module", "jet": "a module",
    "layers": "a module", "Activation": "a layer", "Dense": "a layer", "Audit": "a result",
    "Comparison": "a result", "OptimizeResult": "a result", "OutputChange": "a result",
    "Plan": "a result", "Status": "a result", "Verification": "a result", "Resample": "of points",
    "choose_by_residual": "of points", "register_jet_rule": "of a class or function",
    "register_smoothness": "of a class or function", "compare": "makes its own networks",
}  # fmt: skip


def test_every_public_function_of_a_model_has_a_column():
    tested = set(FUNCTION_OF_COLUMN.values())
    assert not tested & WITHOUT_A_MODEL.keys()
    assert tested | WITHOUT_A_MODEL.keys() == set(keras_smooth.__all__)
    for name in keras_smooth.__all__:
        public = getattr(keras_smooth, name)
        if WITHOUT_A_MODEL.get(name) != "a result" and callable(public):
            model_arguments = {"model", "before", "after"} & inspect.signature(
                public
            ).parameters.keys()
            assert not model_arguments or name in tested


def test_refused_patterns_match_a_column():
    for name, row in ZOO.items():
        for pattern in row.refused:
            assert fnmatch.filter(COLUMNS, pattern), f"{name}: {pattern}"


def test_richardson_differences_are_exact():
    x = np.random.default_rng(0).normal(size=(3, 2))

    def function(x):
        return tf.sin(x[:, :1]) * x[:, 1:] ** 3

    a, b = x.T[..., None]
    exact = richardson.differences(function, x, 0.1)
    second = [[-np.sin(a) * b**3, 3 * np.cos(a) * b**2],
              [3 * np.cos(a) * b**2, 6 * np.sin(a) * b]]  # fmt: skip
    expected = (
        np.sin(a) * b**3,
        np.stack([np.cos(a) * b**3, 3 * np.sin(a) * b**2], -1),
        np.stack([np.stack(line, -1) for line in second], -2),
    )
    for value, expected_value in zip((exact.y, exact.dy, exact.d2y), expected):
        np.testing.assert_allclose(value[0], expected_value, atol=1e-9)


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (KeyError("x"), "raw KeyError"),
        (ValueError("`x` must be of floats."), "raised in test_zoo.py"),
    ],
)
def test_error_from_outside_the_package_is_a_fault(error, fault):
    assert fault in refusal(_raised(error), "x").text


def test_error_is_a_refusal_only_for_the_expected_reason():
    with pytest.raises(TypeError) as raised:
        keras_smooth.derivatives(None, np.ones((1, 1)))
    kinds = [refusal(raised.value, reason).kind for reason in ("model", "float64", None)]
    assert kinds == ["refused", "fault", "fault"]


WRONG = {
    "off": (("dy", np.ones((2, 1)), [np.ones((2, 1)) + 1e-3], 1), "dy is off"),
    "no number": (("y", np.full((2, 1), np.nan), [np.ones((2, 1))], 0), "y is off"),
    "fewer": (("y", np.ones((2, 1)), [np.ones((2, 1))] * 2, 0), "y has shapes"),
    "another class": (("class", 2, 1, 0), "class is 2"),
}


@pytest.mark.parametrize("name", WRONG)
def test_difference_reports_wrong_results(name):
    comparison, fault = WRONG[name]
    assert fault in difference(case_of("dense"), [comparison])


LOAD_AND_COMPARE = """
import sys
import keras, numpy as np
import zoo, keras_smooth
for path in sys.argv[1:]:
    case = np.load(path + ".npz")
    model = keras.models.load_model(path + ".keras")
    y, dy, d2y = keras_smooth.derivatives(model, case["x"])
    np.testing.assert_allclose(dy, case["dy"].reshape(dy.shape), atol=1e-6)
    np.testing.assert_allclose(d2y, case["d2y"].reshape(d2y.shape), atol=1e-5)
"""


@pytest.mark.slow
def test_saved_models_have_right_derivatives_in_another_process(tmp_path):
    paths = []
    for name in (
        "arithmetic",
        "subclassed with config",
        "models in models",
        "recurrence both ways",
    ):
        case = case_of(name)
        case.restart()
        paths.append(str(tmp_path / name.replace(" ", "_")))
        case.model.save(f"{paths[-1]}.keras")
        exact = case.exact
        np.savez(f"{paths[-1]}.npz", x=case.x, dy=exact.dy[0], d2y=exact.d2y[0])
    command = [sys.executable, "-c", LOAD_AND_COMPARE, *paths]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-2000:]
