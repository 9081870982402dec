"""Docstrings of the public API: a line, Args as in the signature, Returns, Raises, an example."""

import ast
import dataclasses
import enum
import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import keras_smooth

sys.path.insert(0, str(Path(keras_smooth.__file__).parent.parent / "tools"))
import write_api  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Row:
    """A public name: a function, a class, or what a class of ours adds to its bases."""

    name: str
    value: Any
    owner: type | None = None

    @property
    def doc(self) -> str:
        return (inspect.getdoc(self.value) or "") + "\n"

    @property
    def function(self) -> Callable:
        value = inspect.unwrap(self.value)
        if dataclasses.is_dataclass(value):
            return getattr(value, "__post_init__", object.__init__)
        return value.__init__ if inspect.isclass(value) else value


def rows_of(name: str, value: Any) -> Iterator[Row]:
    if inspect.ismodule(value):
        for member in write_api.members_of(value):
            yield from rows_of(f"{name}.{member}", getattr(value, member))
        return
    yield Row(name, value)
    if inspect.isclass(value):
        for member, own in vars(value).items():
            inherited = any(hasattr(base, member) for base in value.__bases__)
            if not (member.startswith("_") or inherited):
                if isinstance(own, property) or inspect.isfunction(own):
                    yield Row(f"{name}.{member}", own, value)


ROWS = [
    row
    for name in keras_smooth.__all__
    for row in rows_of(name, getattr(keras_smooth, name))
]
CALLABLE = [row for row in ROWS if not isinstance(row.value, property)]
TOP = [row for row in CALLABLE if row.owner is None]


def of(rows: list[Row]) -> Any:
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


def documented_arguments(doc: str) -> list[str]:
    section = re.search(r"^Args:\n((?: {4}.*\n|\n)*)", doc, re.MULTILINE)
    return re.findall(r"^ {4}(\*{0,2}\w+): ", section[1], re.MULTILINE) if section else []


def arguments(row: Row) -> list[str]:
    if inspect.isclass(row.value) and issubclass(row.value, enum.Enum):
        return []
    kinds = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    parameters = inspect.signature(row.value).parameters.values()
    return [
        kinds.get(each.kind, "") + each.name for each in parameters if each.name != "self"
    ]


@functools.cache
def statements(function: Callable) -> list[ast.AST]:
    """Returns the nodes of the body of a function of ours, without its decorators."""
    is_ours = inspect.isfunction(function) and function.__module__.startswith(
        "keras_smooth"
    )
    if not is_ours:
        return []
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    return [node for statement in definition.body for node in ast.walk(statement)]


def called(function: Callable) -> Iterator[Any]:
    """Yields the functions that a body calls, where a global name leads to them."""
    for node in statements(function):
        if isinstance(node, ast.Call):
            first, *rest = ast.unparse(node.func).split(".")
            value = function.__globals__.get(first)
            yield functools.reduce(
                lambda value, name: getattr(value, name, None), rest, value
            )


def can_raise(function: Callable) -> bool:
    """Whether a function has a `raise` itself, or calls one that is documented to raise."""
    if any(isinstance(node, ast.Raise) for node in statements(function)):
        return True
    ours = (each for each in called(function) if statements(inspect.unwrap(each)))
    return any("\nRaises:" in (inspect.getdoc(each) or "") for each in ours)


@of(ROWS)
def test_first_line_is_a_sentence(row):
    first, *rest = row.doc.splitlines()
    assert first.endswith(".") and len(first) <= 92
    assert not rest or rest[0] == ""


@of(CALLABLE)
def test_arguments_are_those_of_the_signature(row):
    assert documented_arguments(row.doc) == arguments(row)


@of([row for row in CALLABLE if inspect.isfunction(inspect.unwrap(row.value))])
def test_what_is_returned_is_documented(row):
    hints = inspect.unwrap(row.value).__annotations__
    assert "return" in hints
    assert ("Returns" in row.doc) == (hints["return"] is not None)


@of(CALLABLE)
def test_errors_are_documented(row):
    if can_raise(row.function):
        assert "\nRaises:\n" in row.doc


@of(TOP)
def test_there_is_an_example(row):
    assert "\nExample" in row.doc and "\n>>> " in row.doc


def test_methods_are_looked_at_too():
    names = {row.name for row in ROWS}
    assert {"Comparison.save", "DerivativeMonitor.plot", "jet.Jet.order"} <= names
    assert "Dense.get_config" not in names


def test_dir_lists_the_public_names():
    names = [name for name in dir(keras_smooth) if not name.startswith("__")]
    assert names == sorted(keras_smooth.__all__)
    # By which Sphinx knows that imported names are members.
    assert "__all__" in dir(keras_smooth)
