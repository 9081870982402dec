"""Structure of the package: modules, docstrings of folders, imports, effects of an import."""

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
OTHER_FOLDERS = ("benchmarks", "examples", "tests", "tools")
ALL_FILES = FILES + [
    path for folder in OTHER_FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))
]

# A module may import modules of a lower level only.
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

# Data flows through these parts of lbfgs/ in one direction: none imports a later one.
LBFGS_PARTS = (
    "result", "data", "minimizers", "objective", "resample", "request", "checks", "run",
    "logs", "history", "progress", "fit",
)  # fmt: skip

# Files that are not modules.
ENTRY_POINTS = {"__init__", "__main__"}

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
    names = []
    for node in nodes(path, ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        else:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def file_of(name: str) -> Path | None:
    """Returns the file of the package that defines a dotted name, of a module or a member."""
    for dotted in (name, name.rpartition(".")[0]):
        path = ROOT / dotted.replace(".", "/")
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate in FILES:
                return candidate
    return None


def imported_files(path: Path) -> set[Path]:
    return {file for name in imports(path) if (file := file_of(name))}


def relative_name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.fixture(scope="module", autouse=True)
def clear_syntax_trees():
    """Each file is parsed once for all tests of this file; its tree is then freed."""
    yield
    all_nodes.cache_clear()


# Modules.


def test_modules_have_a_level_and_are_at_most_16():
    assert {module_of(path) for path in FILES} - ENTRY_POINTS == set(LEVELS)
    assert len(LEVELS) <= 16


@each("name", LEVELS)
def test_modules_have_at_least_30_lines(name):
    lines = [
        line
        for path in FILES
        if module_of(path) == name
        for line in path.read_text().splitlines()
    ]
    assert len(lines) >= 30


@each("path", [path for path in FILES if module_of(path) not in ENTRY_POINTS])
def test_modules_import_only_lower_levels(path):
    # The root has the version, which is written to results.
    modules = {module_of(file) for file in imported_files(path)} - {
        module_of(path),
        "__init__",
    }
    assert {name for name in modules if LEVELS[name] >= LEVELS[module_of(path)]} == set()


def lbfgs_part(path: Path) -> str:
    return path.relative_to(PACKAGE / "lbfgs").parts[0].removesuffix(".py")


LBFGS_FILES = [path for path in FILES if module_of(path) == "lbfgs"]


@each("path", [path for path in LBFGS_FILES if lbfgs_part(path) not in ENTRY_POINTS])
def test_parts_of_lbfgs_import_only_earlier_parts(path):
    parts = LBFGS_PARTS[: LBFGS_PARTS.index(lbfgs_part(path)) + 1]
    imported_parts = {
        lbfgs_part(file) for file in imported_files(path) if file in LBFGS_FILES
    }
    assert imported_parts <= set(parts)


def test_files_have_no_circular_imports():
    """The root is omitted, since others read `__version__` from it."""
    root = PACKAGE / "__init__.py"
    graph = {path: imported_files(path) - {root} for path in FILES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(map(relative_name, error.args[1])))


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


@each("path", ALL_FILES)
def test_imports_have_no_aliases(path):
    for node in nodes(path, ast.Import, ast.ImportFrom):
        for alias in node.names:
            pair = alias.name, alias.asname
            assert alias.asname is None or pair in SHORT_NAMES, " as ".join(pair)


# Names that do not describe a value.
VAGUE_NAMES = {"found", "one", "part", "passed"}


@each("path", FILES)
def test_variables_have_no_vague_names(path):
    stored = {n.id for n in nodes(path, ast.Name) if isinstance(n.ctx, ast.Store)}
    stored |= {argument.arg for argument in nodes(path, ast.arg)}
    assert not stored & VAGUE_NAMES


def test_tfp_is_imported_by_its_minimizers_only():
    users = [
        path for path in FILES
        if any(name.startswith("tensorflow_probability") for name in imports(path))
    ]  # fmt: skip
    assert users and {path.parent for path in users} == {PACKAGE / "lbfgs" / "minimizers"}


# Docstrings of folders.

FOLDERS = sorted({path.parent for path in FILES} - {PACKAGE})


def entries_of(folder: Path) -> set[str]:
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py", "__main__.py"}
    return files | {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}


@each("folder", FOLDERS)
def test_docstring_of_a_folder_lists_its_files(folder):
    """A line begins with a file, or with several that are separated by commas."""
    doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    beginnings = re.findall(r"^((?:\w+(?:\.py|/),? *)+)", doc, re.MULTILINE)
    names = [name.strip() for start in beginnings for name in re.split(r"[, ]+", start)]
    assert sorted(filter(None, names)) == sorted(entries_of(folder))


@each("path", FILES)
def test_markup_in_docstrings_ends_at_the_end_of_a_word(path):
    """The site reads `Task`s as the beginning of a longer piece of code."""
    documented = nodes(path, ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = [ast.get_docstring(node) or "" for node in documented]
    ends = (end for doc in docs for end in re.findall(r"`[^`]*`(\w*)", doc))
    assert list(filter(None, ends)) == []


def test_tree_in_the_docs_lists_the_modules():
    page = (ROOT / "docs" / "architecture.md").read_text()
    tree = re.search(r"<!-- modules -->\n```\n(.*?)```", page, re.DOTALL)[1]
    modules = re.findall(r"^  (\w+(?:\.py|/)) {2,}\S", tree, re.MULTILINE)
    assert sorted(modules) == sorted(entries_of(PACKAGE))
    folders = re.findall(r"^(\w+)/", tree, re.MULTILINE)
    assert sorted(folders) == [
        "benchmarks", "docs", "examples", "keras_smooth", "recipe", "tests", "tools"
    ]  # fmt: skip
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_table_of_test_times_has_all_groups(tmp_path):
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
    page_table = re.search(times_of_tests.PLACE, page, re.DOTALL)[0]
    first_columns = [
        [line.split(" | ")[0] for line in text.splitlines()] for text in (table, page_table)
    ]
    assert first_columns[0] == first_columns[1]


# Public names.


@pytest.mark.parametrize("file", ["tests/older_versions.py", "docs/mutations.md"])
def test_tests_that_are_named_elsewhere_exist(file):
    functions = {
        name for path in (ROOT / "tests").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }  # fmt: skip
    named = set(re.findall(r'["`](test_[a-z0-9_]+)[\[`"]', (ROOT / file).read_text()))
    # Reasons to skip are by the beginning of a name.
    missing = {name for name in named if not any(f.startswith(name) for f in functions)}
    assert named and not missing


def test_public_api_matches_api_txt():
    """A change of the API is a change of the file: python tools/write_api.py --write docs/api.txt."""
    expected = (ROOT / "docs" / "api.txt").read_text().splitlines()
    assert write_api.api().splitlines() == expected


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


# Effects of an import.

IMPORT_PROGRAM = """
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
def import_effects():
    """Effects of an import in one new process, so that TensorFlow is loaded once."""
    process = run_python(IMPORT_PROGRAM)
    assert process.returncode == 0, process.stderr
    assert not [line for line in process.stderr.splitlines() if "keras_smooth" in line]
    (line,) = process.stdout.splitlines()  # nothing else is printed
    return json.loads(line)


@pytest.mark.slow
def test_import_prints_nothing_and_changes_no_global_state(import_effects):
    assert import_effects["changed"] == {}


def test_import_loads_few_modules_beside_keras(import_effects):
    # The number of other modules stands for the time, which is not asserted.
    others = [name for name in import_effects["new"] if not name.startswith("keras_smooth")]
    assert "tensorflow_probability" not in others and "matplotlib.pyplot" not in others
    assert len(others) < 30, others


def test_package_is_typed_and_its_version_is_in_the_changelog():
    assert (PACKAGE / "py.typed").exists()
    version = keras_smooth.__version__
    assert importlib.metadata.version("keras-smooth") == version
    sections = re.findall(
        r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    release, _, development = version.partition(".dev")
    # A version under development has no section yet.
    assert ("Unreleased" if development else version) in sections
    assert not development or release not in sections
