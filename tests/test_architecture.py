"""The shape of the package: direction of imports, public API only, nothing on import."""

import ast
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_smooth

PACKAGE = Path(keras_smooth.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))

# A room may import rooms of a lower level only.
LEVELS = {
    "checks": 0, "figures": 0, "jet": 0, "models": 0,
    "registry": 1,
    "activations": 2,
    "initializers": 3,
    "layers": 4,
    "differentiation": 5, "smoothing": 5,
    "auditing": 6, "callbacks": 6, "lbfgs": 6,
    "comparison": 7,
    "cli": 8,
    "__main__": 9,
}  # fmt: skip

FORBIDDEN = ("keras.src", "tensorflow.python", "tf_keras")


def imports(path: Path) -> list[str]:
    """Returns the dotted names that a file imports, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_of(name: str) -> list[str]:
    parts = name.split(".")
    return [parts[1]] if parts[0] == "keras_smooth" and len(parts) > 1 else []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports(path):
    names = imports(path)
    assert not [name for name in names if name.startswith(FORBIDDEN)]
    if room(path) == "__init__":
        return
    others = {r for name in names for r in rooms_of(name)} - {room(path)}
    for other in others & set(LEVELS):
        assert LEVELS[other] < LEVELS[room(path)], f"{room(path)} imports {other}"
    assert others <= set(LEVELS) | set(keras_smooth.__all__) | {"__version__"}


def test_every_room_has_a_level():
    assert {room(path) for path in FILES} - {"__init__"} == set(LEVELS)


def test_only_minimizers_import_tfp():
    users = {
        str(path.relative_to(PACKAGE)) for path in FILES
        if any(name.startswith("tensorflow_probability") for name in imports(path))
    }  # fmt: skip
    assert users == {"lbfgs/minimizers/tfp_lbfgs.py", "lbfgs/minimizers/tfp_bfgs.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                assert node.end_lineno - body[0].lineno < 50, node.name


def public():
    for name in keras_smooth.__all__:
        value = getattr(keras_smooth, name)
        if inspect.ismodule(value):
            members = getattr(value, "__all__", None) or [
                n for n, v in vars(value).items()
                if not n.startswith("_") and getattr(v, "__module__", "") == value.__name__
            ]  # fmt: skip
            yield from (getattr(value, member) for member in members)
        else:
            yield value


@pytest.mark.parametrize("value", public(), ids=lambda value: value.__name__)
def test_public_names_are_documented(value):
    doc = inspect.getdoc(value)
    assert doc and len(doc.splitlines()[0]) <= 92
    if inspect.isfunction(value):
        hints = value.__annotations__
        assert "return" in hints or ".activations." in value.__module__
        assert "Args:" in doc and "Example:" in doc


def test_readme_has_a_line_a_room():
    readme = (ROOT / "README.md").read_text()
    for name in set(LEVELS) - {"__main__"}:
        assert f"`{name}.py`" in readme or f"`{name}/`" in readme, name


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


STATE = """
import json, os, sys, warnings
{imports}
import keras, numpy, tensorflow as tf
state = dict(
    floatx=keras.config.floatx(), policy=keras.config.dtype_policy().name,
    environ=sorted(os.environ.items()), filters=[str(f) for f in warnings.filters],
    numpy=[str(s) for s in numpy.random.get_state()[1][:0]], path=sys.path,
    eager=tf.config.functions_run_eagerly(), jit=tf.config.optimizer.get_jit(),
)
heavy = [m for m in ("matplotlib", "tensorflow_probability", "tf_keras") if m in sys.modules]
print(json.dumps([state, heavy]))
"""


def test_import_prints_nothing_and_changes_nothing():
    plain = python(STATE.format(imports="import keras"))
    ours = python(STATE.format(imports="import keras_smooth"))
    assert ours.returncode == 0, ours.stderr
    # One line, the state and the heavy modules that Keras itself has loaded: as without us.
    assert ours.stdout == plain.stdout and len(ours.stdout.splitlines()) == 1
    assert "tensorflow_probability" not in ours.stdout.rpartition("[")[2]
    assert not [line for line in ours.stderr.splitlines() if "keras_smooth" in line]


def test_import_costs_little_beyond_keras():
    code = (
        "import keras, sys; before = set(sys.modules); import keras_smooth; "
        "new = set(sys.modules) - before; "
        "print(len([name for name in new if not name.startswith('keras_smooth')]))"
    )
    # No time is asserted: the number of modules beside our own is what it costs.
    assert int(python(code).stdout) < 30


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_other_backend_is_refused_in_one_sentence(backend):
    done = python("import keras_smooth", KERAS_BACKEND=backend)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ImportError: keras_smooth needs Keras on the TensorFlow backend"
    )
    assert backend in last and "KERAS_BACKEND" in last


def test_keras_2_is_refused_in_one_sentence():
    code = "import keras; keras.__version__ = '2.15.0'; import keras_smooth"
    last = python(code).stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: keras_smooth needs Keras 3, but Keras 2.15.0")


def test_typed_and_versioned():
    assert (PACKAGE / "py.typed").exists()
    assert importlib.metadata.version("keras-smooth") == keras_smooth.__version__
    assert f"## [{keras_smooth.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
