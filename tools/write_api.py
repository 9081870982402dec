"""Prints or writes the public API, so that a diff shows each change of it.

    python tools/write_api.py [--write docs/api.txt]

There is a line for each public function and method, with its arguments and their defaults, and for
each public class with its bases. Inherited members are not listed.
"""

import argparse
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras_smooth


def signature(value: Any) -> str:
    """Returns the arguments with their defaults, without annotations."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return "(...)"
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    # The `repr` of a sentinel has its address, which differs between processes.
    shown = [p.replace(default=...) if " at 0x" in repr(p.default) else p for p in plain]
    return str(inspect.Signature(shown))


def lines_of_class(name: str, value: type) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    yield f"class {name}({bases}){signature(value)}"
    for member, own in sorted(vars(value).items()):
        if member.startswith("_"):
            continue
        if isinstance(own, property):
            yield f"{name}.{member}: property"
        elif isinstance(own, (classmethod, staticmethod)):
            yield f"{name}.{member}{signature(getattr(value, member))}: {type(own).__name__}"
        elif inspect.isfunction(own):
            yield f"{name}.{member}{signature(own)}"


def members_of(module: ModuleType) -> list[str]:
    """Returns the public names of a module: its `__all__`, or else the names it defines."""
    return getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]


def lines_of(name: str, value: Any) -> Iterator[str]:
    """Yields the lines of a public name."""
    if isinstance(value, ModuleType):
        for member in sorted(members_of(value)):
            yield from lines_of(f"{name}.{member}", getattr(value, member))
    elif inspect.isclass(value):
        yield from lines_of_class(name, value)
    elif callable(value):
        yield f"{name}{signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def api() -> str:
    """Returns all lines, in order."""
    names = sorted(keras_smooth.__all__)
    lines = [line for name in names for line in lines_of(name, getattr(keras_smooth, name))]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=Path, help="file to write, instead of printing")
    options = parser.parse_args()
    if options.write:
        options.write.write_text(api())
    else:
        sys.stdout.write(api())


if __name__ == "__main__":
    main()
