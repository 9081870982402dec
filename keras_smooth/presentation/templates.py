"""Texts of Jinja templates: pages, pictures, scripts of shells."""

import functools
import html
import re
import shlex
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]
# Marks of Markdown, but for the * of names that stand out.
_MARKS = re.compile(r"([\\`_{}\[\]|#$~])")


def render(path: str, **values: Any) -> str:
    """Returns the text of a template with some values, which pages and pictures escape.

    Args:
        path: The template, from the folder of this package.
        **values: Its values.
    """
    return _environment().get_template(path).render(**values)


def sentences(path: str, macro: str, *values: Any) -> str:
    """Returns what a macro of a template writes, in one line."""
    macros = _environment().get_template(path).module
    return " ".join(getattr(macros, macro)(*values).split())


def printable(text: str) -> str:
    """Returns a text without control characters of terminals."""
    return "".join(c if c.isprintable() else "?" for c in text)


def assets(*paths: str) -> str:
    """Returns the text of files of this package, one after the other."""
    return "".join((_PACKAGE / path).read_text(encoding="utf-8") for path in paths)


@functools.cache
def _environment() -> Any:
    # Imported here, since the command line is to answer at once.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PACKAGE),
        autoescape=jinja2.select_autoescape(["html", "svg"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "error": "{:.1e}".format,
        "latex": _latex,
        "plain": _plain,
        "printable": printable,
        "quote": shlex.quote,
    }
    return environment


def _plain(text: object, names: bool = False) -> str:
    """Returns text that is not ours so that Markdown and HTML show it as it is."""
    text = _MARKS.sub(r"\\\1", html.escape(str(text), quote=False))
    return " ".join((text if names else text.replace("*", r"\*")).split())


def _latex(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text)
