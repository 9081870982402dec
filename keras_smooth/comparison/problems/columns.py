"""The columns of a text file: what a spreadsheet, NumPy or an instrument writes.

The first line names the columns, in any order and in upper or lower case; others are left
alone. They are apart by commas, semicolons, tabs or spaces. Empty lines and lines that begin
with # are passed over; where numpy.savetxt has put the names behind a #, they are found there.
What could be read in two ways is refused, with the line.
"""

import codecs
import csv
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_smooth.checks import shown
from keras_smooth.comparison.options import NUMBER

NAMES = ("x", "y", "dy", "d2y")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class _TextLine(NamedTuple):
    number: int
    text: str


class _Layout(NamedTuple):
    """What the line of names says of those below.

    Args:
        separator: What is between two fields; None stands for spaces.
        width: Number of fields.
        places: Where the columns are among them.
    """

    separator: str | None
    width: int
    places: dict[str, int]


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns the columns x, y and, where there, dy and d2y of a file.

    Raises:
        ValueError: If the file cannot be read in exactly one way.
    """
    try:
        return _columns(path, *_lines(path))
    except csv.Error as error:  # A field of more than 131,072 characters.
        raise ValueError(f"Cannot read {path}: {error}.") from None


def _columns(
    path: Path, comments: list[_TextLine], lines: list[_TextLine]
) -> dict[str, np.ndarray]:
    if not lines:
        raise ValueError(f"{path} is empty: its first line must name the columns x and y.")
    head = lines[0]
    if comments and _is_row_of_numbers(head.text):
        head = comments[-1]
    else:
        lines = lines[1:]
    layout = _layout(path, head.text)
    rows = [_row(path, line, layout) for line in lines]
    names = list(layout.places)
    return dict(zip(names, np.array(rows, float).reshape(-1, len(names)).T))


def _lines(path: Path) -> tuple[list[_TextLine], list[_TextLine]]:
    """Returns the comments before the first line of data, and all lines of data."""
    comments, lines = [], []
    for number, text in enumerate(_text(path).splitlines(), start=1):
        text = text.strip(" ")
        if text.startswith("#"):
            comments += [] if lines else [_TextLine(number, text.lstrip("# "))]
        elif text.strip():
            lines.append(_TextLine(number, text))
    return comments, lines


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise ValueError(f"Cannot read {path}: it is no regular file.")
    try:
        content = path.read_bytes()
        encoding = "utf-16" if content.startswith(_UTF_16) else "utf-8-sig"
        return content.decode(encoding)
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"Cannot read {path}: it is no UTF-8 text ({error}).") from None


def _separator(head: str) -> str | None:
    """Returns what is between the names; None stands for spaces."""
    return next((mark for mark in ";\t," if mark in head), None)


def _fields(text: str, separator: str | None) -> list[str]:
    if separator is None:
        return text.split()
    fields = next(csv.reader([text], delimiter=separator, skipinitialspace=True))
    return [field.strip() for field in fields]


def _is_row_of_numbers(text: str) -> bool:
    return all(map(NUMBER.fullmatch, _fields(text, _separator(text))))


def _places(path: Path, found: list[str]) -> dict[str, int]:
    """Returns where the columns are in a line."""
    what = f"it names {shown(', '.join(found))}"
    missing = [name for name in NAMES[:2] if name not in found]
    if missing:
        raise ValueError(
            f"{path} has no column {' and no column '.join(missing)}: the first line must "
            f"name x, y and optionally dy, d2y; {what}."
        )
    repeated = [name for name in NAMES if found.count(name) > 1]
    if repeated:
        raise ValueError(f"{path} has more than one column {repeated[0]}: {what}.")
    return {name: found.index(name) for name in NAMES if name in found}


def _layout(path: Path, head: str) -> _Layout:
    separator = _separator(head)
    names = [name.lower() for name in _fields(head, separator)]
    return _Layout(separator, len(names), _places(path, names))


def _row(path: Path, line: _TextLine, layout: _Layout) -> list[float]:
    fields = _fields(line.text, layout.separator)
    if len(fields) != layout.width:
        hint = (
            "" if layout.separator != "," else " Decimal commas are not read: write points."
        )
        raise ValueError(
            f"{path}, line {line.number}: {len(fields)} fields where the first line names "
            f"{layout.width} columns: {shown(line.text)}.{hint}"
        )
    return [
        _number(f"{path}, line {line.number}: {name}", fields[place])
        for name, place in layout.places.items()
    ]


def _number(what: str, field: str) -> float:
    if NUMBER.fullmatch(field) and math.isfinite(float(field)):
        return float(field)
    hint = " Decimal commas are not read: write a point." if "," in field else ""
    raise ValueError(f"{what} must be a finite number, received {shown(field)}.{hint}")
