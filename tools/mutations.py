"""Mutation tests: prints small changes of a module with which its tests still pass.

    python tools/mutations.py keras_smooth/comparison/records/resuming.py --sample 40 \\
        -- tests/test_comparison_resuming.py -m "not slow"

Each change is made alone, in a copy of the working tree, in which the tests after -- then run.
Every change with which they pass is printed. It is in code that is not tested or not needed, or
makes no difference: examine them one by one.
"""

import argparse
import ast
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Keras is imported once, for all forks.
import keras  # noqa: F401
import pytest

PAIRS = [
    (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn), (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.And, ast.Or),
]  # fmt: skip
SWAPPED = dict(PAIRS) | {second: first for first, second in PAIRS}
DROPPED = (
    ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Return, ast.Raise, ast.Delete,
    ast.Continue, ast.Break,
)  # fmt: skip
# Lists from which an entry is removed, and the least number of entries that are left: entries of a
# literal, keyword arguments, operands of `and`, conditions of a comprehension.
SHORTENED = {"elts": 1, "keywords": 0, "values": 1, "ifs": 0}
# Nodes whose `values` are not shortened, since they belong to keys, or are text.
UNEQUAL = (ast.Dict, ast.JoinedStr)
# Fields that do not affect the behavior.
SKIPPED = {"annotation", "returns", "decorator_list"}


def mutants(source: str) -> Iterator[tuple[int, str]]:
    """Yields the line of each possible change, and the source with this change."""
    tree = ast.parse(source)
    for parent in list(_nodes(tree)):
        for field, value in ast.iter_fields(parent):
            for node, changed in _changes(parent, field, value):
                setattr(parent, field, changed)
                yield (
                    getattr(node, "lineno", 0),
                    ast.unparse(ast.fix_missing_locations(tree)),
                )
                setattr(parent, field, value)


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for field, value in ast.iter_fields(node):
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, ast.AST) and field not in SKIPPED:
                yield from _nodes(entry)


def _changes(parent: ast.AST, field: str, value: Any) -> Iterator[tuple[ast.AST, Any]]:
    """Yields the node at which a field is changed, and the new value of the field."""
    if not isinstance(value, list):
        yield from ((parent, new) for new in _instead(value, field))
        return
    can_shrink = len(value) > SHORTENED.get(field, len(value))
    is_read = isinstance(getattr(parent, "ctx", ast.Load()), ast.Load)
    for i, entry in enumerate(value):
        node = entry if hasattr(entry, "lineno") else parent
        for new in _instead(entry, field):
            yield node, [*value[:i], new, *value[i + 1 :]]
        if can_shrink and is_read and not isinstance(parent, UNEQUAL):
            yield node, [*value[:i], *value[i + 1 :]]


def _instead(node: Any, field: str) -> Iterator[Any]:
    """Yields replacements of a node, or of the value of a constant."""
    if type(node) in SWAPPED:
        yield SWAPPED[type(node)]()
    if field == "value" and type(node) in (bool, int, float) and node in (0, 1):
        yield type(node)(1 - node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif field == "test":
        yield ast.UnaryOp(ast.Not(), node)
    if isinstance(node, DROPPED) and not _does_nothing(node):
        yield ast.Pass()


def _does_nothing(node: ast.stmt) -> bool:
    """Returns whether a statement is a docstring, or a declaration without a value."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.AnnAssign) and node.value is None


def passes(tree: Path, tests: list[str]) -> bool:
    """Returns whether the tests pass in a tree, in a new process."""
    child = os.fork()
    if child == 0:
        os.chdir(tree)
        sys.path[0] = os.environ["PYTHONPATH"] = str(tree)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os._exit(pytest.main(["-n0", "-x", "-q", "-p", "no:cacheprovider", *tests]))
    return os.waitpid(child, 0)[1] == 0


def _copy(tree: Path) -> None:
    """Copies the files that git tracks, or would add."""
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    for name in filter(os.path.isfile, names.split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, tree / name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("module", help="a file of the package, from the root of the tree")
    parser.add_argument("--sample", type=int, help="so many changes, drawn (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    parser.add_argument(
        "--timeout", default="120", help="seconds for a test (default: 120)"
    )
    parser.add_argument("tests", nargs="+", help="files and options of pytest, after --")
    arguments = parser.parse_args()
    tests = [f"--timeout={arguments.timeout}", *arguments.tests]
    # Bytecode is reused for a source of the same second and size, which two changes may have.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with tempfile.TemporaryDirectory() as tree:
        _copy(Path(tree))
        file = Path(tree, arguments.module)
        source = file.read_text()
        if not passes(Path(tree), tests):
            sys.exit("The tests fail without any change.")
        file.write_text("raise ImportError('not the tree that was changed')")
        if passes(Path(tree), tests):
            sys.exit(f"The tests do not import {arguments.module} of the copy.")
        return _survivors(Path(tree), file, source, tests, arguments)


def _survivors(
    tree: Path, file: Path, source: str, tests: list[str], arguments: argparse.Namespace
) -> int:
    """Prints the changes with which the tests pass; returns 1 if there are any, else 0."""
    drawn = list(mutants(source))
    if arguments.sample is not None and arguments.sample < len(drawn):
        drawn = sorted(random.Random(arguments.seed).sample(drawn, arguments.sample))
    original, survivors = ast.unparse(ast.parse(source)).splitlines(), 0
    for line, text in drawn:
        file.write_text(text)
        if passes(tree, tests):
            survivors += 1
            changes = difflib.unified_diff(original, text.splitlines(), n=0, lineterm="")
            shown = "\n".join(row for row in list(changes)[2:] if not row.startswith("@"))
            print(f"{arguments.module}:{line}\n{shown}", flush=True)
    print(f"{survivors} of {len(drawn)} changes were not noticed.")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
