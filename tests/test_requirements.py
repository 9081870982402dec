"""Requirements of the import, and the errors if they are not met."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth
from keras_smooth import checks
from keras_smooth.presentation import figures

INSTALL = 'is not installed. Install it with: pip install "keras-smooth[tensorflow]"'
BACKEND = (
    "Keras on the TensorFlow backend, but the backend is {!r}. Set it before Keras is "
    "imported, in a shell with: export KERAS_BACKEND=tensorflow"
)


def module_code(version, backend="tensorflow"):
    """Returns the code of a module that replaces TensorFlow or Keras."""
    return f"""
__version__ = {version!r}
class config:
    backend = lambda: {backend!r}
"""


# The modules that are installed, and the requirement in the message. A module of None is an
# empty folder, which a package that was removed can leave behind.
INSTALLATIONS = {
    "no TensorFlow and no Keras": ({}, f"TensorFlow, which {INSTALL}"),
    "Keras without TensorFlow": (
        {"keras": "import tensorflow"},
        f"TensorFlow, which {INSTALL}",
    ),
    "TensorFlow was removed": (
        {"tensorflow": None, "keras": module_code("3.15.1")},
        f"TensorFlow, which {INSTALL}",
    ),
    "TensorFlow without Keras": (
        {"tensorflow": module_code("2.21.0")},
        f"Keras, which {INSTALL}",
    ),
    "Keras was removed": (
        {"tensorflow": module_code("2.21.0"), "keras": None},
        f"Keras, which {INSTALL}",
    ),
    "an old TensorFlow": (
        {"tensorflow": module_code("2.15.1"), "keras": module_code("3.15.1")},
        "TensorFlow 2.16 or newer, but TensorFlow 2.15.1 "
        'is installed. Upgrade it with: pip install --upgrade "tensorflow>=2.16"',
    ),
    "Keras 2": (
        {"tensorflow": module_code("2.16.2"), "keras": module_code("2.15.0")},
        "Keras 3.10 or newer, but Keras 2.15.0 "
        'is installed. Upgrade it with: pip install --upgrade "keras>=3.10"',
    ),
    "an old Keras 3": (
        {"tensorflow": module_code("2.16.2"), "keras": module_code("3.9.2")},
        "Keras 3.10 or newer, but Keras 3.9.2 "
        'is installed. Upgrade it with: pip install --upgrade "keras>=3.10"',
    ),
    "JAX, by keras.json": (
        {"tensorflow": module_code("2.21.0"), "keras": module_code("3.15.1", "jax")},
        BACKEND.format("jax"),
    ),
    "JAX, by keras.json, which is not installed": (
        {"tensorflow": module_code("2.21.0"), "keras": "import jax"},
        BACKEND.format("jax"),
    ),
}


def import_error(folder, modules, **environment):
    """Returns the standard error of `import keras_smooth` beside these modules."""
    numpy = Path(np.__file__).parents[1]
    for package in (Path(keras_smooth.__file__).parent, *numpy.glob("numpy*")):
        (folder / package.name).symlink_to(package)
    for name, code in modules.items():
        (folder / name).mkdir()
        if code is not None:
            (folder / name / "__init__.py").write_text(code)
    process = subprocess.run(
        [sys.executable, "-S", "-c", "import keras_smooth"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
    )
    assert process.returncode == 1
    return process.stderr


def assert_only_our_error(stderr, requirement):
    """Asserts that the only error is raised by the package itself."""
    frames = [line for line in stderr.splitlines() if line.startswith("  File")]
    assert len([line for line in stderr.splitlines() if line.startswith("Traceback")]) == 1
    assert all("keras_smooth" in line for line in frames[1:]), stderr
    assert stderr.splitlines()[-1] == f"ImportError: keras_smooth needs {requirement}"


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_missing_or_old_requirements_raise_with_the_remedy(name, tmp_path):
    modules, requirement = INSTALLATIONS[name]
    assert_only_our_error(import_error(tmp_path, modules, KERAS_BACKEND=""), requirement)


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_other_backend_in_the_environment_raises(backend, tmp_path):
    stderr = import_error(tmp_path, {}, KERAS_BACKEND=backend)
    assert_only_our_error(stderr, BACKEND.format(backend))


@pytest.mark.slow
def test_other_backend_in_keras_json_raises(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    process = subprocess.run(
        [sys.executable, "-c", "import keras_smooth"],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    traceback = process.stderr[process.stderr.index("Traceback") :]
    assert_only_our_error(traceback, BACKEND.format("jax"))


@pytest.mark.parametrize("build", ["tensorflow_cpu", "tf_nightly"])
def test_upgrade_command_names_the_installed_build_of_tensorflow(build, tmp_path):
    information = tmp_path / f"{build}-2.15.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Name: {build}\nVersion: 2.15.1\n")
    (information / "top_level.txt").write_text("tensorflow\n")
    modules = {"tensorflow": module_code("2.15.1"), "keras": module_code("3.15.1")}
    stderr = import_error(tmp_path, modules, KERAS_BACKEND="")
    assert stderr.endswith(f'pip install --upgrade "{build}>=2.16"\n')


# Versions of nightly builds and release candidates of TensorFlow and Keras.
@pytest.mark.parametrize(
    ("tensorflow_version", "keras_version"),
    [
        ("2.16.0", "3.10.0"),
        ("2.22.0-rc0", "3.16.0.dev2026102704"),
        ("2.23.0-dev20261026", "3.100.0"),
        ("3.0.0", "4.0.0"),
    ],
)
def test_new_versions_are_accepted(tensorflow_version, keras_version, monkeypatch):
    monkeypatch.setattr(tf, "__version__", tensorflow_version)
    monkeypatch.setattr(keras, "__version__", keras_version)
    checks.require_keras_on_tensorflow()


def test_environment_is_ignored_once_keras_is_imported(monkeypatch):
    """It may be set for a process that is started later."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    checks.require_keras_on_tensorflow()


# Functions that draw figures, which must raise before they compute.
FIGURES = {
    "a figure": lambda folder: figures.new(1.0, 1.0),
    "a notebook": lambda folder: monitor(live=True),
    "TensorBoard": lambda folder: monitor(log_dir=folder),
    "compare": lambda folder: keras_smooth.compare(["tanh"], out=folder / "out"),
}


def monitor(**arguments):
    x = np.linspace(-1.0, 1.0, 5)[:, None]
    return keras_smooth.DerivativeMonitor(x, keras.ops.sin, 1, **arguments)


@pytest.mark.filterwarnings("ignore:.*this is not a notebook")
@pytest.mark.parametrize("name", FIGURES)
def test_figures_without_matplotlib_raise_with_the_command(name, tmp_path, monkeypatch):
    """The command keeps the version of NumPy: pip could replace NumPy 1 by 2."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(np, "__version__", "1.26.4")
    with pytest.raises(ImportError) as caught:
        FIGURES[name](tmp_path)
    command = 'pip install "matplotlib>=3.8" "numpy==1.26.4"'
    assert str(caught.value).endswith(f"not installed. Install it with: {command}")
    assert not (tmp_path / "out").exists()


def test_command_for_matplotlib_has_the_bound_of_the_extra():
    project = (Path(keras_smooth.__file__).parents[1] / "pyproject.toml").read_text()
    source = Path(figures.__file__).read_text()
    (bound,) = re.findall(r'plot = \["(.*)"\]', project)
    assert f'"{bound}"' in source
