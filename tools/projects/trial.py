"""Tests of the package with a model of another project; each script of this folder is a project.

A script builds a model as in the documentation of its project, in float64, and ends with
`Trial.print`. Derivatives are compared with central differences of the outputs of the model.
"""

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402

import keras_smooth  # noqa: E402

STEPS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
# Weights of f(x + k h) for k = -3 to 3, of sixth order in h.
FIRST = np.array([-1, 9, -45, 0, 45, -9, 1]) / 60
SECOND = np.array([2, -27, 270, -490, 270, -27, 2]) / 180
# With the two steps that agree best, differences have eight correct digits, six for steep models.
TOLERANCE = 1e-5


class Trial:
    """The lines of a model: the test, its result, and the largest relative difference."""

    def __init__(self, model: str):
        self.model = model
        self.lines: list[tuple[str, str, str]] = []

    def note(self, test: str, function: Callable[[], str | float]) -> None:
        """Records a test, a function that returns a sentence or the relative error of numbers."""
        result: str | float
        try:
            result = function()
        except Exception as error:
            traceback.print_exc()
            result = ended(error)
        if isinstance(result, str):
            self.lines.append((test, result, ""))
        else:
            right = "right" if result <= TOLERANCE else "wrong"
            self.lines.append((test, right, f"{result:.0e}"))
        print(self.model, *self.lines[-1], sep=" | ", file=sys.stderr, flush=True)

    def compare(self, test: str, ours: Callable, exact: Any) -> None:
        """Records whether derivatives are equal to the exact ones."""
        self.note(test, lambda: relative(ours(), exact))

    def derivatives(self, model: Callable, x: Any, wrt: Any = None) -> None:
        """Records tests of the operators on a model, compared with differences by one input."""
        call, z = by_one_input(model, x, wrt)
        v = np.random.default_rng(1).normal(size=z.shape)
        along_v = differences(call, z, v, SECOND, 2)
        self.compare(
            "`jacobian`", lambda: keras_smooth.jacobian(model, x, wrt=wrt), slopes(call, z)
        )
        self.compare(
            "`derivatives`, order 2", lambda: contracted(model, x, wrt, v), along_v
        )
        self.compare(
            "`laplacian`", lambda: keras_smooth.laplacian(model, x, wrt=wrt), trace(call, z)
        )
        self.compare(
            "`directional`, order 2",
            lambda: keras_smooth.directional(model, x, v, 2, wrt=wrt)[2],
            along_v,
        )
        self.note("`laplacian(verify=True)`", lambda: verified(model, x, wrt))

    def everything(self, model: keras.Model, x: Any, wrt: Any = None) -> None:
        """Records all tests: operators, audit, training, monitor, saving."""
        self.derivatives(model, x, wrt)
        self.note("`audit`", lambda: audited(model, x))
        self.note("`fit_lbfgs`", lambda: fitted(model, x))
        self.note("`DerivativeMonitor`", lambda: monitored(model, x))
        self.note("saved and loaded", lambda: saved(model, x, wrt))

    def print(self) -> None:
        """Prints the lines for tools/other_projects.py."""
        print(json.dumps({"model": self.model, "lines": self.lines}))


def ended(error: Exception) -> str:
    """Returns the result of a test with an error: "refused" by this package, or "fails"."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = f"keras_smooth{os.sep}" in frames[-1].filename
    sentence = " ".join(str(error).split())
    shown = sentence if len(sentence) <= 300 else f"{sentence[:300]}..."
    if ours and isinstance(error, ValueError | TypeError):
        return f"refused: {shown}"
    return f"fails: {type(error).__name__}: {shown}"


def by_one_input(model: Callable, x: Any, wrt: Any) -> tuple[Callable, np.ndarray]:
    """Returns a model as a function of the input `wrt`, and the value of this input.

    The function accepts a multiple of the samples, for which the other inputs are repeated.
    """
    moving = x if wrt is None else x[wrt]

    def call(z):
        if wrt is None:
            return np.asarray(model(z))
        num = len(z) // len(moving)
        items = x.items() if isinstance(x, dict) else enumerate(x)
        repeated = {key: np.concatenate([value] * num) for key, value in items}
        inputs = {**repeated, wrt: z}
        return np.asarray(model(inputs if isinstance(x, dict) else list(inputs.values())))

    return call, moving


def differences(call: Callable, z: Any, v: Any, weights: Any, order: int) -> np.ndarray:
    """Returns differences along v, with one of the two steps whose results agree best."""
    moved = np.stack([[z + k * h * v for k in range(-3, 4)] for h in STEPS])
    y = call(moved.reshape(-1, *z.shape[1:]))
    y = y.reshape(*moved.shape[:3], *y.shape[1:])
    heights = np.reshape(STEPS, (-1, *[1] * (y.ndim - 2))) ** order
    by_step = np.einsum("hk...,k->h...", y, weights) / heights
    changes = np.abs(np.diff(by_step, axis=0)).reshape(len(STEPS) - 1, -1).max(axis=1)
    return by_step[np.argmin(changes) + 1]


def unit_directions(z: np.ndarray) -> list[np.ndarray]:
    size = int(np.prod(z.shape[1:]))
    return [
        np.broadcast_to(row.reshape(z.shape[1:]), z.shape)
        for row in np.eye(size, dtype=z.dtype)
    ]


def slopes(call: Callable, z: np.ndarray) -> np.ndarray:
    columns = [differences(call, z, v, FIRST, 1) for v in unit_directions(z)]
    stacked = np.stack(columns, axis=-1)
    return stacked.reshape(*stacked.shape[:-1], *z.shape[1:])


def trace(call: Callable, z: np.ndarray) -> np.ndarray:
    return sum(differences(call, z, v, SECOND, 2) for v in unit_directions(z))


def relative(value: Any, exact: Any) -> float:
    """Returns the largest difference as a fraction of the largest exact number."""
    value, exact = np.asarray(value), np.asarray(exact)
    assert value.size == exact.size, f"shapes {value.shape} and {exact.shape}"
    return float(np.abs(value.reshape(exact.shape) - exact).max() / np.abs(exact).max())


def contracted(model: Callable, x: Any, wrt: Any, v: np.ndarray) -> np.ndarray:
    """Returns v H v of the Hessian."""
    value = np.asarray(keras_smooth.derivatives(model, x, 2, wrt=wrt)[2])
    num, size = len(v), int(np.prod(v.shape[1:]))
    flat = v.reshape(num, size)
    return np.einsum("nmij,ni,nj->nm", value.reshape(num, -1, size, size), flat, flat)


def verified(model: Callable, x: Any, wrt: Any) -> str:
    keras_smooth.laplacian(model, x, wrt=wrt, verify=True)
    return "verified"


def audited(model: keras.Model, x: Any) -> str:
    """Returns the outcome of an audit, with the layers that are neither proven nor checked."""
    result = keras_smooth.audit(model, x)
    at_fault = sorted(
        {
            f"{row.layer} ({row.cause})"
            for row in result.rows
            if row.verdict not in ("proven", "checked")
        }
    )
    return "; ".join([result.outcome, *at_fault])


def fitted(model: keras.Model, x: Any) -> str:
    y = np.asarray(model(x))
    model.compile(loss="mse")
    target = y + 0.1 * np.random.default_rng(2).normal(size=y.shape)
    history = keras_smooth.fit_lbfgs(
        model, x, target, epochs=5, verbose=0, jit_compile=False
    )
    losses = history.history["loss"]
    return f"runs: loss {np.mean((target - y) ** 2):.1e} to {losses[-1]:.1e}"


def monitored(model: keras.Model, x: Any) -> str:
    exact = keras_smooth.derivatives(model, x, 1)
    monitor = keras_smooth.DerivativeMonitor(x, tuple(exact), 1)
    model.compile("sgd", "mse")
    model.fit(x, np.asarray(model(x)), shuffle=False, verbose=0, callbacks=[monitor])
    return f"runs: dy_mse {monitor.history['dy_mse'][-1]:.0e}"


def saved(model: keras.Model, x: Any, wrt: Any) -> str | float:
    exact = keras_smooth.jacobian(model, x, wrt=wrt)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        loaded = keras.saving.load_model(f"{folder}/model.keras")
    if relative(loaded(x), model(x)) > TOLERANCE:
        return "not examined: the loaded model has other outputs"
    return relative(keras_smooth.jacobian(loaded, x, wrt=wrt), exact)
