"""Tables that show a result, in print and in a notebook."""

import abc
import contextlib
import dataclasses
import enum
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keras_smooth.presentation import templates
from keras_smooth.presentation.notebook import ipython
from keras_smooth.presentation.templates import printable


class _Colors(NamedTuple):
    """The colors of a tone: an ANSI code, and a background for white letters on a page."""

    code: int
    background: str


class Tone(enum.Enum):
    """Whether the text of a cell is good, bad, or neither, which decides its color."""

    GOOD = _Colors(32, "#1a7f37")
    UNSURE = _Colors(33, "#8a5a00")
    BAD = _Colors(31, "#b42318")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text that can be shown in a terminal or on a page.

    Args:
        head: Names of the columns; empty if the first column names the rows.
        rows: Rows of cells, one cell for each column.
        title: Text above the table.
        notes: Sentences below the table.
        tones: The tones of cells, by the text of the cell.
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
        lines = [list(map(printable, row)) for row in (self.head, *self.rows) if row]
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
            pictures: SVG pictures below the table.
        """
        return templates.render("presentation/table.html", table=self, pictures=pictures)


class ShownAsTable(abc.ABC):
    """A result that `print` and notebooks show as the same table.

    If the table raises an error, `repr` is shown, so that showing a result cannot end a program.
    """

    @abc.abstractmethod
    def _table(self) -> Table:
        """Returns the table of the result."""

    def _pictures(self) -> Sequence[str]:
        """Returns SVG pictures that a page shows below the table."""
        return ()

    def __str__(self) -> str:
        return self._text(colored=False)

    def _text(self, colored: bool) -> str:
        try:
            return self._table().text(colored)
        except Exception:
            return repr(self)

    def _repr_html_(self) -> str | None:
        pictures: Sequence[str] = ()
        with contextlib.suppress(Exception):
            pictures = self._pictures()
        with contextlib.suppress(Exception):
            return self._table().html(pictures)
        # A notebook then uses `repr`.
        return None

    def show(self) -> None:
        """Shows the table: in a notebook as HTML, in a terminal in color.

        There is no color if the output is no terminal, or if the environment variable NO_COLOR
        is set.
        """
        if module := ipython():
            module.display.display(self)
        else:
            is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
            has_colors = not is_plain and sys.stdout is not None and sys.stdout.isatty()
            # Characters that the encoding of the output lacks are escaped.
            encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
            text = self._text(has_colors).encode(encoding, errors="backslashreplace")
            print(text.decode(encoding))


def _padded(cell: str, width: int, tones: Mapping[str, Tone]) -> str:
    padded = cell.ljust(width)
    if cell not in tones:
        return padded
    return f"\x1b[{tones[cell].value.code}m{cell}\x1b[0m{padded[len(cell) :]}"


def plain(text: str, encoding: str) -> str:
    """Returns text in characters of an encoding, without control characters of terminals."""
    encodable = text.encode(encoding, errors="backslashreplace").decode(encoding)
    return "\n".join(map(printable, encodable.splitlines()))
