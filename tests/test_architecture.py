"""The shape of the package: rooms and their maps, the direction of imports, nothing on import."""

import ast
import functools
import graphlib
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from looped import each

import keras_smooth

PACKAGE = Path(keras_smooth.__file__).parent
ROOT = PACKAGE.parent
sys.path.insert(0, str(ROOT / "tools"))
import times_of_tests  # noqa: E402
import write_api  # noqa: E402

FILES = sorted(PACKAGE.rglob("*.py"))
BESIDE = ("benchmarks", "examples", "tests", "tools")
OWN_FILES = FILES + [
    path for folder in BESIDE for path in sorted((ROOT / folder).rglob("*.py"))
]

# A room may import rooms of a lower level only.
LEVELS = {
    "checks": 0, "jet": 0, "presentation": 0,
    "models": 1, "operations": 1,
    "registry": 2,
    "activations": 3,
    "initializers": 4,
    "layers": 5,
    "differentiation": 6, "smoothing": 6,
    "auditing": 7, "callbacks": 7, "lbfgs": 7,
    "comparison": 8,
    "cli": 9,
}  # fmt: skip

# Data goes through these parts of lbfgs/ one way: none imports a later one.
PARTS_OF_LBFGS = (
    "result", "data", "minimizers", "objective", "resample", "request", "checks", "run",
    "logs", "history", "progress", "fit",
)  # fmt: skip

# What runs a room, and is none.
ENTRIES = {"__init__", "__main__"}

FORBIDDEN = ("keras.src", "tensorflow.python", "tf_keras")
SHORT_NAMES = {
    ("numpy", "np"),
    ("tensorflow", "tf"),
    ("tensorflow_probability", "tfp"),
    ("matplotlib.pyplot", "plt"),
}


@functools.cache
def all_nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def nodes(path: Path, *kinds: type) -> list:
    return [node for node in all_nodes(path) if isinstance(node, kinds)]


@functools.cache
def imports(path: Path) -> list[str]:
    """Returns the dotted names that a file imports, also inside functions."""
    found = []
    for node in nodes(path, ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        else:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def file_of(name: str) -> Path | None:
    """Returns the file of ours in which a dotted name is found: a module's, or a member's."""
    for dotted in (name, name.rpartition(".")[0]):
        path = ROOT / dotted.replace(".", "/")
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate in FILES:
                return candidate
    return None


def imported_files(path: Path) -> set[Path]:
    return {file for name in imports(path) if (file := file_of(name))}


def label(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.fixture(scope="module", autouse=True)
def trees():
    """Each file is read once for all tests here, and its tree kept no longer than that."""
    yield
    all_nodes.cache_clear()


# Rooms.


def test_rooms_have_a_level_and_are_few():
    assert {room(path) for path in FILES} - ENTRIES == set(LEVELS)
    assert len(LEVELS) <= 16


@each("name", LEVELS)
def test_no_room_is_all_but_empty(name):
    lines = [
        line
        for path in FILES
        if room(path) == name
        for line in path.read_text().splitlines()
    ]
    assert len(lines) >= 30


@each("path", [path for path in FILES if room(path) not in ENTRIES])
def test_imports_go_down(path):
    # The root has the version, which is written into results.
    others = {room(file) for file in imported_files(path)} - {room(path), "__init__"}
    assert {other for other in others if LEVELS[other] >= LEVELS[room(path)]} == set()


def part_of_lbfgs(path: Path) -> str:
    return path.relative_to(PACKAGE / "lbfgs").parts[0].removesuffix(".py")


LBFGS = [path for path in FILES if room(path) == "lbfgs"]


@each("path", [path for path in LBFGS if part_of_lbfgs(path) not in ENTRIES])
def test_a_fit_goes_one_way(path):
    parts = PARTS_OF_LBFGS[: PARTS_OF_LBFGS.index(part_of_lbfgs(path)) + 1]
    others = {part_of_lbfgs(file) for file in imported_files(path) if file in LBFGS}
    assert others <= set(parts)


def test_no_circle_of_files():
    """The root is left out: `__version__` is read from it."""
    root = PACKAGE / "__init__.py"
    graph = {path: imported_files(path) - {root} for path in FILES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(map(label, error.args[1])))


@each("path", FILES)
def test_imports_are_public(path):
    assert not [name for name in imports(path) if name.startswith(FORBIDDEN)]
    modules = set()
    for node in nodes(path, ast.ImportFrom):
        for alias in node.names:
            assert not alias.name.startswith("_") or alias.name == "__version__", alias.name
            modules.add(alias.name)
    for node in nodes(path, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id in modules:
            private = node.attr.startswith("_") and not node.attr.endswith("__")
            assert not private, f"{node.value.id}.{node.attr}"


@each("path", OWN_FILES)
def test_no_second_names(path):
    for node in nodes(path, ast.Import, ast.ImportFrom):
        for alias in node.names:
            pair = alias.name, alias.asname
            assert alias.asname is None or pair in SHORT_NAMES, " as ".join(pair)


# Words that do not tell what a value is.
SAY_NOTHING = {"found", "one", "part", "passed"}


@each("path", FILES)
def test_names_tell_what_a_value_is(path):
    stored = {n.id for n in nodes(path, ast.Name) if isinstance(n.ctx, ast.Store)}
    stored |= {argument.arg for argument in nodes(path, ast.arg)}
    assert not stored & SAY_NOTHING


def test_tfp_is_imported_by_its_minimizers_only():
    users = [
        path for path in FILES
        if any(name.startswith("tensorflow_probability") for name in imports(path))
    ]  # fmt: skip
    assert users and {path.parent for path in users} == {PACKAGE / "lbfgs" / "minimizers"}


# Maps.

FOLDERS = sorted({path.parent for path in FILES} - {PACKAGE})


def inside(folder: Path) -> set[str]:
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py", "__main__.py"}
    return files | {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}


@each("folder", FOLDERS)
def test_docstring_of_a_folder_is_its_map(folder):
    """A line begins with a file, or with several and commas between them."""
    doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    starts = re.findall(r"^((?:\w+(?:\.py|/),? *)+)", doc, re.MULTILINE)
    named = [name.strip() for start in starts for name in re.split(r"[, ]+", start)]
    assert sorted(filter(None, named)) == sorted(inside(folder))


@each("path", FILES)
def test_markup_of_docstrings_ends_before_a_word_goes_on(path):
    """The site takes `Task`s for the beginning of a longer piece of code."""
    documented = nodes(path, ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = [ast.get_docstring(node) or "" for node in documented]
    ends = (end for doc in docs for end in re.findall(r"`[^`]*`(\w*)", doc))
    assert list(filter(None, ends)) == []


def test_tree_is_what_is_there():
    page = (ROOT / "docs" / "architecture.md").read_text()
    tree = re.search(r"<!-- rooms -->\n```\n(.*?)```", page, re.DOTALL)[1]
    rooms = re.findall(r"^  (\w+(?:\.py|/)) {2,}\S", tree, re.MULTILINE)
    assert sorted(rooms) == sorted(inside(PACKAGE))
    folders = re.findall(r"^(\w+)/", tree, re.MULTILINE)
    assert sorted(folders) == [
        "benchmarks", "docs", "examples", "keras_smooth", "recipe", "tests", "tools"
    ]  # fmt: skip
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_each_group_of_the_table_of_times_has_files_of_tests(tmp_path):
    """tools/times_of_tests.py adds seconds; CONTRIBUTING.md has its table."""
    paths = (ROOT / "tests").glob("test_*.py")
    assert {times_of_tests.group_of(str(path)) for path in paths} | {"docstrings"} == set(
        times_of_tests.GROUPS
    )
    assert times_of_tests.group_of("keras_smooth.checks") == "docstrings"
    (tmp_path / "report.xml").write_text(
        '<testsuites><testcase classname="tests.test_zoo" name="a" time="1.4"/>'
        '<testcase classname="tests.test_zoo" name="b" time="2"/></testsuites>'
    )
    table = times_of_tests.table([tmp_path / "report.xml"])
    assert "| the zoo | 2 | 3 |" in table
    page = (ROOT / "CONTRIBUTING.md").read_text()
    written = re.search(times_of_tests.PLACE, page, re.DOTALL)[0]
    first = [
        [line.split(" | ")[0] for line in text.splitlines()] for text in (table, written)
    ]
    assert first[0] == first[1]


# Public names.


def test_public_api_is_the_one_on_file():
    """A change of the API is a change of the file: python tools/write_api.py --write docs/api.txt."""
    expected = (ROOT / "docs" / "api.txt").read_text().splitlines()
    assert write_api.api().splitlines() == expected


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


# What an import does.

IMPORT = """
import json, logging, os, random, signal, sys, warnings
import keras, numpy as np, tensorflow as tf

def state():
    return dict(
        floatx=keras.config.floatx(), policy=keras.config.dtype_policy().name,
        epsilon=keras.config.epsilon(), traces=keras.config.is_traceback_filtering_enabled(),
        bars=keras.config.is_interactive_logging_enabled(),
        format=keras.config.image_data_format(), environ=dict(os.environ),
        path=list(sys.path), hooks=[str(sys.excepthook), str(sys.meta_path)],
        filters=[str(f) for f in warnings.filters], numpy=str(np.random.get_state()),
        python=str(random.getstate()), errors=np.geterr(), print=str(np.get_printoptions()),
        eager=tf.config.functions_run_eagerly(), jit=tf.config.optimizer.get_jit(),
        options=tf.config.optimizer.get_experimental_options(),
        signals=[str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM)],
        logging=[logging.root.level, len(logging.root.handlers)],
        limit=sys.getrecursionlimit(),
    )

np.set_printoptions(threshold=1000000)
before, loaded = state(), set(sys.modules)
import keras_smooth
after, new = state(), sorted(set(sys.modules) - loaded)
# Only before TensorFlow has run anything.
tf.config.threading.set_intra_op_parallelism_threads(1)
changed = {key: [before[key], after[key]] for key in before if before[key] != after[key]}
print(json.dumps(dict(changed=changed, new=new)))
"""


@pytest.fixture(scope="module")
def imported():
    """What one fresh process says of the import, so that TensorFlow is loaded once."""
    done = python(IMPORT)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "keras_smooth" in line]
    (line,) = done.stdout.splitlines()  # nothing else is printed
    return json.loads(line)


@pytest.mark.slow
def test_import_prints_nothing_and_changes_nothing(imported):
    assert imported["changed"] == {}


def test_import_costs_little_beyond_keras(imported):
    # No time is asserted: the number of modules beside our own is what it costs.
    others = [name for name in imported["new"] if not name.startswith("keras_smooth")]
    assert "tensorflow_probability" not in others and "matplotlib.pyplot" not in others
    assert len(others) < 30, others


def test_typed_and_versioned():
    assert (PACKAGE / "py.typed").exists()
    version = keras_smooth.__version__
    assert importlib.metadata.version("keras-smooth") == version
    sections = re.findall(
        r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    release, _, development = version.partition(".dev")
    # What is under development has no section of its own yet, and is no release.
    assert ("Unreleased" if development else version) in sections
    assert not development or release not in sections
