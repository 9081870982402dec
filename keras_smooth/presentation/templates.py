"""Texts from Jinja templates: pages, pictures, shell scripts."""

import functools
import html
import re
import shlex
from pathlib import Path
from typing import Any

from keras_smooth.presentation.counts import counted

_PACKAGE = Path(__file__).parents[1]
# The special characters of Markdown, except *, which highlights names.
_MARKS = re.compile(r"([\\`_{}\[\]|#$~])")


def render(path: str, **values: Any) -> str:
    """Returns the text of a template with values, which are escaped in pages and pictures.

    Args:
        path: The path of the template in this package.
        **values: The values of its variables.
    """
    return _environment().get_template(path).render(**values)


def sentences(path: str, macro: str, *values: Any) -> str:
    """Returns the text of a macro of a template, called with values, in one line."""
    macros = _environment().get_template(path).module
    return " ".join(getattr(macros, macro)(*values).split())


def printable(text: str) -> str:
    """Returns text whose control characters are replaced by question marks."""
    return "".join(c if c.isprintable() else "?" for c in text)


def assets(*paths: str) -> str:
    """Returns the text of files of this package, one after the other."""
    return "".join((_PACKAGE / path).read_text(encoding="utf-8") for path in paths)


@functools.cache
def _environment() -> Any:
    # Imported here, so that the command line answers at once.
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
        "counted": counted,
        "error": "{:.1e}".format,
        "latex": _latex,
        "plain": _plain,
        "printable": printable,
        "quote": shlex.quote,
    }
    return environment


def _plain(text: object, names: bool = False) -> str:
    """Returns text escaped for Markdown and HTML; `*` is not escaped if it highlights names."""
    text = _MARKS.sub(r"\\\1", html.escape(str(text), quote=False))
    return " ".join((text if names else text.replace("*", r"\*")).split())


def _latex(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text)
