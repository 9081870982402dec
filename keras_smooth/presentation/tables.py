"""Tables that show a result, in print and in a notebook."""

import abc
import dataclasses
import enum
import html
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keras_smooth.presentation.notebook import ipython


class _Colors(NamedTuple):
    """The colors of a tone: a code for terminals, and a background for white letters on a page."""

    code: int
    background: str


class Tone(enum.Enum):
    """The meaning of a cell: right, wrong, or neither."""

    GOOD = _Colors(32, "#1a7f37")
    UNSURE = _Colors(33, "#8a5a00")
    BAD = _Colors(31, "#b42318")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text that can be shown in a terminal or on a page.

    Args:
        head: Names of the columns; none where the first column names the rows.
        rows: Cells, as many a row as there are columns.
        title: Text above the table.
        notes: Sentences below the table.
        tones: Tones of cells by their text.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    notes: Sequence[str] = ()
    tones: Mapping[str, Tone] = dataclasses.field(default_factory=dict)

    def text(self, colored: bool = False) -> str:
        """Returns the table for a terminal.

        Args:
            colored: Whether the terminal shows colors.
        """
        lines = [
            [printable(cell) for cell in row] for row in (self.head, *self.rows) if row
        ]
        widths = [max(map(len, column)) for column in zip(*lines)]
        tones = self.tones if colored else {}
        written = [
            "  ".join(_padded(*cell, tones) for cell in zip(line, widths)).rstrip()
            for line in lines
        ]
        if self.head:
            written.insert(1, "-" * len(written[0]))
        above = [printable(self.title)] if self.title else []
        below = ["", *map(printable, self.notes)] if self.notes else []
        return "\n".join([*above, *written, *below])

    def html(self, pictures: Sequence[str] = ()) -> str:
        """Returns the table for a page, in the page's own colors.

        Args:
            pictures: SVG that stands below it.
        """
        parts = []
        if self.head:
            parts.append(f"<thead>{_row(self.head, len(self.head), {})}</thead>")
        rows = (_row(row, 1, self.tones) for row in self.rows)
        parts += ["<tbody>", *rows, "</tbody>"]
        notes = "<br>".join(map(escaped, self.notes))
        below = f'<div style="white-space: pre-wrap">{notes}</div>' if notes else ""
        drawn = f"<div>{''.join(pictures)}</div>" if pictures else ""
        # Not a caption, which would be as wide as the table and scroll with it.
        # An element that scrolls must be reachable by the keyboard.
        above = f"<div><b>{escaped(self.title)}</b></div>" if self.title else ""
        table = f"<table>{''.join(parts)}</table>"
        scrolling = f'<div tabindex="0" style="overflow-x: auto">{table}</div>'
        return f"<div>{above}{scrolling}{below}{drawn}</div>"


class ShownAsTable(abc.ABC):
    """A result that `print` and notebooks show as the same table.

    Neither raises an error, so that showing a result cannot end a program.
    """

    @abc.abstractmethod
    def _table(self) -> Table:
        """Returns what is shown."""

    def _pictures(self) -> Sequence[str]:
        """Returns SVG for a page."""
        return ()

    def __str__(self) -> str:
        return self._text(colored=False)

    def _text(self, colored: bool) -> str:
        try:
            return self._table().text(colored)
        except Exception:
            return repr(self)

    def _repr_html_(self) -> str | None:
        try:
            table = self._table()
            try:
                pictures = self._pictures()
            except Exception:
                pictures = ()
            return table.html(pictures)
        # A notebook then uses `repr`.
        except Exception:
            return None

    def show(self) -> None:
        """Shows the table: in a notebook as HTML, in a terminal in color.

        Without color where the output is no terminal, or the environment variable NO_COLOR is
        set.
        """
        if module := ipython():
            module.display.display(self)
        else:
            _say(self._text(colored=_has_colors()))


def printable(text: str) -> str:
    """Returns a text without control characters of terminals."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _has_colors() -> bool:
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not is_plain and sys.stdout is not None and sys.stdout.isatty()


def _say(text: str) -> None:
    """Prints text in characters that the encoding of the output has."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, errors="backslashreplace").decode(encoding))


def _padded(cell: str, width: int, tones: Mapping[str, Tone]) -> str:
    padded = cell.ljust(width)
    if cell not in tones:
        return padded
    return f"\x1b[{tones[cell].value.code}m{cell}\x1b[0m{padded[len(cell) :]}"


def plain(text: str, encoding: str) -> str:
    """Returns lines in characters of an encoding, without control characters of terminals."""
    known = text.encode(encoding, errors="backslashreplace").decode(encoding)
    return "\n".join(map(printable, known.splitlines()))


def escaped(text: str) -> str:
    """Returns a text escaped for HTML."""
    return html.escape(printable(text))


def _row(cells: Sequence[str], heads: int, tones: Mapping[str, Tone]) -> str:
    """Returns a row whose first cells are heads, to the left as in print."""
    names = ["th"] * heads + ["td"] * (len(cells) - heads)
    written = (
        f'<{name} style="{_style(cell)}">{_content(cell, tones)}</{name}>'
        for name, cell in zip(names, cells)
    )
    return f"<tr>{''.join(written)}</tr>"


def _content(cell: str, tones: Mapping[str, Tone]) -> str:
    if cell not in tones:
        return escaped(cell)
    background = tones[cell].value.background
    style = f"background: {background}; color: #fff; padding: 0 0.4em; border-radius: 0.3em"
    return f'<span style="{style}">{escaped(cell)}</span>'


def _style(cell: str) -> str:
    # No colors: those of the notebook's own tables suit its light and dark themes.
    words = "normal" if " " in cell else "nowrap"  # 1e-09 has a hyphen, and is one word
    return f"text-align: left; white-space: {words}"
