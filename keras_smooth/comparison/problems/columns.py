"""The columns of a text file from a spreadsheet, NumPy or an instrument.

The first line names the columns, in any order and in upper or lower case. Columns with other names
are ignored. The separators are commas, semicolons, tabs or spaces. Empty lines and lines that begin
with # are skipped, except that the names may be in such a line, as numpy.savetxt writes them. A
line that could be read in two ways is an error, which names the line.
"""

import codecs
import csv
import math
import re
from pathlib import Path

import numpy as np

from keras_smooth.checks import regular_file, shown
from keras_smooth.presentation.counts import counted

NAMES = ("x", "y", "dy", "d2y")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns the columns x, y and, if the file has them, dy and d2y.

    Raises:
        ValueError: If the file cannot be read in exactly one way.
    """
    try:
        return _columns(path)
    except csv.Error as error:  # A field has more than 131,072 characters.
        raise ValueError(f"Cannot read {path}: {error}.") from None


def _columns(path: Path) -> dict[str, np.ndarray]:
    comments, lines = [], []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        text = line.strip(" ")
        if text.startswith("#"):
            comments += [] if lines else [text.lstrip("# ")]
        elif text.strip():
            lines.append((number, text))
    if not lines:
        raise ValueError(f"{path} is empty: its first line must name the columns x and y.")
    head = lines[0][1]
    if comments and all(map(NUMBER.fullmatch, _fields(head, _separator(head)))):
        head = comments[-1]
    else:
        lines = lines[1:]
    separator = _separator(head)
    names = [name.lower() for name in _fields(head, separator)]
    index = _places(path, names)
    rows = []
    for number, text in lines:
        fields, label = _fields(text, separator), f"{path}, line {number}: "
        if len(fields) != len(names):
            hint = " Decimal commas are not read: write points." if separator == "," else ""
            raise ValueError(
                f"{label}{counted(len(fields), 'field')} where the first line names "
                f"{counted(len(names), 'column')}: "
                f"{shown(text)}.{hint}"
            )
        rows.append([_number(label + name, fields[place]) for name, place in index.items()])
    return dict(zip(index, np.array(rows, float).reshape(-1, len(index)).T))


def _text(path: Path) -> str:
    content = regular_file(path).read_bytes()
    try:
        return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"Cannot read {path}: it is no UTF-8 text ({error}).") from None


def _separator(head: str) -> str | None:
    """Returns the separator of the names in the first line; None for spaces."""
    return next((mark for mark in ";\t," if mark in head), None)


def _fields(text: str, separator: str | None) -> list[str]:
    if separator is None:
        return text.split()
    fields = next(csv.reader([text], delimiter=separator, skipinitialspace=True))
    return [field.strip() for field in fields]


def _places(path: Path, header: list[str]) -> dict[str, int]:
    """Returns the index of each column."""
    counts = [header.count(name) for name in NAMES]
    if counts[:2] != [1, 1] or max(counts) > 1:
        raise ValueError(
            f"{path}: the first line must name x (one input), y and optionally dy, d2y, each "
            f"once; received {shown(', '.join(header))}."
        )
    return {name: header.index(name) for name in NAMES if name in header}


def _number(label: str, field: str) -> float:
    if NUMBER.fullmatch(field) and math.isfinite(float(field)):
        return float(field)
    hint = " Decimal commas are not read: write a point." if "," in field else ""
    raise ValueError(f"{label} must be a finite number, received {shown(field)}.{hint}")
