"""Tables: what a result says of itself, in print and in a notebook."""

import abc
import dataclasses
import html
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text, before it is known where it will be shown.

    Args:
        head: Names of the columns; none where the first column names the rows.
        rows: Cells, as many a row as there are columns.
        title: What stands above it.
        notes: Sentences that stand below it.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    notes: Sequence[str] = ()

    def text(self) -> str:
        """Returns the table for a terminal."""
        lines = [
            [printable(cell) for cell in row] for row in (self.head, *self.rows) if row
        ]
        widths = [max(map(len, column)) for column in zip(*lines)]
        written = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        if self.head:
            written.insert(1, "-" * len(written[0]))
        above = [printable(self.title)] if self.title else []
        below = ["", *map(printable, self.notes)] if self.notes else []
        return "\n".join([*above, *written, *below])

    def html(self) -> str:
        """Returns the table for a page, in the page's own colors."""
        parts = [f"<caption>{_escaped(self.title)}</caption>"] if self.title else []
        if self.head:
            parts.append(f"<thead>{_row(self.head, heads=len(self.head))}</thead>")
        parts += ["<tbody>", *(_row(row, heads=1) for row in self.rows), "</tbody>"]
        notes = "<br>".join(map(_escaped, self.notes))
        below = f"<div>{notes}</div>" if notes else ""
        table = f"<table>{''.join(parts)}</table>"
        return f'<div style="overflow-x: auto">{table}{below}</div>'


class ShownAsTable(abc.ABC):
    """A result that `print` and notebooks show as one and the same table."""

    @abc.abstractmethod
    def _table(self) -> Table:
        """Returns what is shown."""

    def __str__(self) -> str:
        return self._table().text()

    def _repr_html_(self) -> str:
        return self._table().html()


def printable(text: str) -> str:
    """Returns a text without characters that a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text)


def plain(text: str, encoding: str) -> str:
    """Returns lines in characters that an encoding has, and none that a terminal would obey."""
    known = text.encode(encoding, errors="backslashreplace").decode(encoding)
    return "\n".join(map(printable, known.splitlines()))


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _row(cells: Sequence[str], heads: int) -> str:
    """Returns a row whose first cells are heads, to the left as in print."""
    names = ["th"] * heads + ["td"] * (len(cells) - heads)
    written = (
        f'<{name} style="{_style(cell)}">{_escaped(cell)}</{name}>'
        for name, cell in zip(names, cells)
    )
    return f"<tr>{''.join(written)}</tr>"


def _style(cell: str) -> str:
    # No color is said: what a notebook gives to its tables is right in light and in dark.
    words = "normal" if " " in cell else "nowrap"  # 1e-09 has a hyphen, and is one word
    return f"text-align: left; white-space: {words}"
