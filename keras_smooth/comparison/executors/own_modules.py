"""The user's own modules, as source text for machines that do not have them.

A pickle refers to functions by their modules. Modules of installed packages also exist on the
other machine. The user's modules are in a folder of this machine, and import each other from it.
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

# These packages are on every machine, even if they are installed from their source folder.
_ALWAYS_INSTALLED = {"keras_smooth", "keras", "tensorflow", "ray"}
_INSTALLED = {"site-packages", "dist-packages"}


class Source(NamedTuple):
    """The source of a module.

    Args:
        path: Its path on this machine.
        content: Its source, as bytes of any encoding.
    """

    path: str
    content: bytes


def sources_for(content: bytes) -> dict[str, Source]:
    """Returns the sources of the user's modules that a pickle needs, by their names.

    For each module that the pickle names, these are all modules that have been imported from the
    same folder: the module itself, and modules that it imports, directly or indirectly.
    """
    # The strings in the pickle include the names of modules.
    texts = {text for _, text, _ in pickletools.genops(content) if isinstance(text, str)}
    roots = {_root(name) for name in texts & sys.modules.keys()} - {None}
    sources = {}
    for name in list(sys.modules):
        path = _path(name)
        # The main program is sent by cloudpickle.
        if path and path.suffix == ".py" and name != "__main__" and _root(name) in roots:
            try:
                sources[name] = Source(os.fspath(path), path.read_bytes())
            # A package may have no `__init__.py`. Other files may have been deleted.
            except OSError:
                if path.stem == "__init__":
                    sources[name] = Source(os.fspath(path), b"")
    return sources


def _root(name: str) -> Path | None:
    """Returns the folder from which a module of the user is imported, None for other modules."""
    path = _path(name)
    if name.partition(".")[0] in _ALWAYS_INSTALLED or path is None:
        return None
    if _INSTALLED & {*path.parts} or path.is_relative_to(sysconfig.get_path("stdlib")):
        return None
    folder = path.parent if path.stem == "__init__" else path
    # The folder is one level up for each part of the name.
    return [*folder.parents][: name.count(".") + 1][-1]


def _path(name: str) -> Path | None:
    """Returns the file of a module; for a package without `__init__.py`, the path of that file."""
    module = sys.modules[name]
    if not isinstance(module, types.ModuleType):
        return None
    # `getattr` is not used, since some modules import others when an attribute is read.
    attributes = vars(module)
    if file := attributes.get("__file__"):
        return Path(file).absolute()
    if name == "__main__":  # A notebook, whose folder is the current directory.
        return Path("__main__").absolute()
    folder = next(iter(attributes.get("__path__") or ()), None)
    return folder and Path(folder, "__init__.py").absolute()


def install(sources: Mapping[str, Source]) -> None:
    """Makes modules importable from their sources, and removes those of an earlier call."""
    for finder in [finder for finder in sys.meta_path if isinstance(finder, _Finder)]:
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
