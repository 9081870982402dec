"""The example of CONTRIBUTING.md works in a copy of the checkout."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import keras_smooth

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLE = PAGE[PAGE.index("## An example: one activation") :]
ADDED = re.search(r"```python\n(.*?)```", EXAMPLE, re.DOTALL)[1]
COMMANDS = re.search(r"```console\n(.*?)```", EXAMPLE, re.DOTALL)[1].splitlines()
COPIED_PATHS = ("keras_smooth", "tests", "tools", "docs/api.txt", "pyproject.toml")
# Both commands in one process, since TensorFlow takes seconds to import.
RUN = """
import runpy, sys, pytest
for command in sys.argv[1:]:
    _, *words = command.split()
    if words[0] == "-m":
        sys.exit(pytest.main([*words[2:], "-q", "-n", "0", "-p", "no:cacheprovider"]))
    sys.argv = words
    sys.path.insert(0, "tools")
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as error:
        assert not error.code, error
"""


def insert_lines(path: Path, before: str, text: str, times: int) -> None:
    """Inserts a text before each occurrence of another."""
    content = path.read_text()
    assert content.count(before) == times
    path.write_text(content.replace(before, text + before))


def follow_example(root: Path, block: str) -> subprocess.CompletedProcess:
    """Applies the example to a copy, and runs its commands there."""
    for name in COPIED_PATHS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (root / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, root / name)
    functions = root / "keras_smooth" / "activations" / "functions.py"
    functions.write_text(f"{functions.read_text()}\n\n{block}")
    names = root / "keras_smooth" / "activations" / "__init__.py"
    insert_lines(names, "    sharp_softplus,\n", "    serf,\n", 1)
    insert_lines(names, '    "sharp_softplus",\n', '    "serf",\n', 1)
    options = root / "keras_smooth" / "comparison" / "options.py"
    insert_lines(options, '"sharp_softplus",', '"serf", ', 1)
    # Without the options of this run of pytest, such as those of coverage.
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_ADDOPTS"}
    return subprocess.run(
        [sys.executable, "-c", RUN, *COMMANDS],
        capture_output=True,
        text=True,
        cwd=root,
        env={**environment, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def test_example_activation_does_not_exist_yet():
    assert not keras_smooth.registry.has_name("serf")


@pytest.mark.slow
def test_example_works_as_written(tmp_path):
    process = follow_example(tmp_path, ADDED)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    # Tests of its class, its jets and saving.
    assert int(re.search(r"(\d+) passed", process.stdout)[1]) >= 4, process.stdout
    assert "activations.serf(x)" in (tmp_path / "docs" / "api.txt").read_text().splitlines()
