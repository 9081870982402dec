"""The user's own modules, as source text for machines that do not have them.

What is sent elsewhere names functions by their modules. Those of installed packages are there as
well; those of the user are in some folder here, and import others from it.
"""

import importlib.abc
import importlib.util
import os
import pickletools
import sys
import sysconfig
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

# These are on every machine, even if they are installed from their source folder.
_ALWAYS_THERE = {"keras_smooth", "keras", "tensorflow", "ray"}
_INSTALLED = {"site-packages", "dist-packages"}


class Source(NamedTuple):
    """A module.

    Args:
        path: Its path on this machine.
        content: Its source, as bytes of any encoding.
    """

    path: str
    content: bytes


def named_in(content: bytes) -> dict[str, Source]:
    """Returns the user's modules that a pickle needs, by their names.

    Of every module that it names, these are all that have been imported from the same folder or
    package: the module itself, and what it imports, and what that imports.
    """
    # All strings in the pickle, among which are the names of modules.
    texts = {text for _, text, _ in pickletools.genops(content) if isinstance(text, str)}
    roots = {_root(name) for name in texts & sys.modules.keys()} - {None}
    sources = {}
    for name in list(sys.modules):
        path = _path(name)
        # The main program is sent by cloudpickle.
        if path and path.suffix == ".py" and name != "__main__" and _root(name) in roots:
            try:
                sources[name] = Source(os.fspath(path), path.read_bytes())
            # A package without this file; another file has gone since the import.
            except OSError:
                if path.stem == "__init__":
                    sources[name] = Source(os.fspath(path), b"")
    return sources


def _root(name: str) -> Path | None:
    """Returns the folder that a module of the user is imported from; None for others."""
    path = _path(name)
    if name.partition(".")[0] in _ALWAYS_THERE or path is None:
        return None
    if _INSTALLED & {*path.parts} or path.is_relative_to(sysconfig.get_path("stdlib")):
        return None
    folder = path.parent if path.stem == "__init__" else path
    # One level up for each part of its name.
    return [*folder.parents][: name.count(".") + 1][-1]


def _path(name: str) -> Path | None:
    """Returns the file of a module; of a package without one, where that would be."""
    module = sys.modules[name]
    if not isinstance(module, types.ModuleType):
        return None
    # Not by getattr, with which some modules import others.
    known = vars(module)
    if file := known.get("__file__"):
        return Path(file).absolute()
    if name == "__main__":  # A notebook, whose folder is the current one.
        return Path("__main__").absolute()
    folder = next(iter(known.get("__path__") or ()), None)
    return folder and Path(folder, "__init__.py").absolute()


def install(sources: Mapping[str, Source]) -> None:
    """Makes missing modules importable, in place of those of an earlier call."""
    for finder in [own for own in sys.meta_path if isinstance(own, _Finder)]:
        sys.meta_path.remove(finder)
        for name in finder.sources:
            sys.modules.pop(name, None)
    sys.meta_path.insert(0, _Finder(sources))


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):  # type: ignore[misc]
    """Imports modules from their sources."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = sources

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname in self.sources:
            return importlib.util.spec_from_loader(fullname, self)
        return None

    def get_filename(self, fullname: str) -> str:
        return self.sources[fullname].path

    def get_data(self, path: Any) -> bytes:
        return {source.path: source.content for source in self.sources.values()}[path]
