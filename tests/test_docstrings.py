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
class PublicName:
    """A public name: a function, a class, or a member that a class adds to its bases."""

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


def public_names_of(name: str, value: Any) -> Iterator[PublicName]:
    if inspect.ismodule(value):
        for member in write_api.members_of(value):
            yield from public_names_of(f"{name}.{member}", getattr(value, member))
        return
    yield PublicName(name, value)
    if inspect.isclass(value):
        for member, attribute in vars(value).items():
            inherited = any(hasattr(base, member) for base in value.__bases__)
            if not (member.startswith("_") or inherited):
                if isinstance(attribute, property) or inspect.isfunction(attribute):
                    yield PublicName(f"{name}.{member}", attribute, value)


PUBLIC_NAMES = [
    row
    for name in keras_smooth.__all__
    for row in public_names_of(name, getattr(keras_smooth, name))
]
CALLABLES = [row for row in PUBLIC_NAMES if not isinstance(row.value, property)]
TOP_LEVEL = [row for row in CALLABLES if row.owner is None]


def for_each(rows: list[PublicName]) -> Any:
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


def documented_arguments(doc: str) -> list[str]:
    section = re.search(r"^Args:\n((?: {4}.*\n|\n)*)", doc, re.MULTILINE)
    return re.findall(r"^ {4}(\*{0,2}\w+): ", section[1], re.MULTILINE) if section else []


def arguments(row: PublicName) -> list[str]:
    if inspect.isclass(row.value) and issubclass(row.value, enum.Enum):
        return []
    kinds = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    parameters = inspect.signature(row.value).parameters.values()
    return [
        kinds.get(parameter.kind, "") + parameter.name
        for parameter in parameters
        if parameter.name != "self"
    ]


@functools.cache
def statements(function: Callable) -> list[ast.AST]:
    """Returns the syntax tree of the body of a function of the package, as a list of nodes."""
    is_ours = inspect.isfunction(function) and function.__module__.startswith(
        "keras_smooth"
    )
    if not is_ours:
        return []
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    return [node for statement in definition.body for node in ast.walk(statement)]


def called_functions(function: Callable) -> Iterator[Any]:
    """Yields the functions that a body calls by global names."""
    for node in statements(function):
        if isinstance(node, ast.Call):
            first, *rest = ast.unparse(node.func).split(".")
            value = function.__globals__.get(first)
            yield functools.reduce(
                lambda value, name: getattr(value, name, None), rest, value
            )


def can_raise(function: Callable) -> bool:
    """Returns whether a function raises, or calls one that is documented to raise."""
    if any(isinstance(node, ast.Raise) for node in statements(function)):
        return True
    callees = (
        callee
        for callee in called_functions(function)
        if statements(inspect.unwrap(callee))
    )
    return any("\nRaises:" in (inspect.getdoc(callee) or "") for callee in callees)


@for_each(PUBLIC_NAMES)
def test_first_line_is_a_sentence_of_at_most_92_characters(row):
    first, *rest = row.doc.splitlines()
    assert first.endswith(".") and len(first) <= 92
    assert not rest or rest[0] == ""


@for_each(CALLABLES)
def test_arguments_are_those_of_the_signature(row):
    assert documented_arguments(row.doc) == arguments(row)


@for_each([row for row in CALLABLES if inspect.isfunction(inspect.unwrap(row.value))])
def test_return_values_are_documented(row):
    hints = inspect.unwrap(row.value).__annotations__
    assert "return" in hints
    assert ("Returns" in row.doc) == (hints["return"] is not None)


@for_each(CALLABLES)
def test_errors_are_documented(row):
    if can_raise(row.function):
        assert "\nRaises:\n" in row.doc


@for_each(TOP_LEVEL)
def test_top_level_names_have_an_example(row):
    assert "\nExample" in row.doc and "\n>>> " in row.doc


def test_methods_are_among_the_public_names():
    names = {row.name for row in PUBLIC_NAMES}
    assert {"Comparison.save", "DerivativeMonitor.plot", "jet.Jet.order"} <= names
    assert "Dense.get_config" not in names


def test_dir_lists_the_public_names():
    names = [name for name in dir(keras_smooth) if not name.startswith("__")]
    assert names == sorted(keras_smooth.__all__)
    # Sphinx needs it to document imported names as members.
    assert "__all__" in dir(keras_smooth)
