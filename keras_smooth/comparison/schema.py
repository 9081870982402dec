"""What results.json must look like: results.schema.json, and a check against it.

The schema is JSON Schema, draft 2020-12, of which it uses the keywords that are handled here.
"""

import functools
import importlib.resources
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        # Python reads NaN and Infinity, which JSON has not, and 1e999.
        and abs(value) <= sys.float_info.max
    ),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


@functools.cache
def schema() -> dict:
    """Returns the schema of results.json."""
    file = importlib.resources.files("keras_smooth.comparison") / "results.schema.json"
    return json.loads(file.read_text())


def fault(value: Any, rules: dict | None = None) -> str | None:
    """Returns what is wrong with a content of results.json in one sentence; None if nothing."""
    return next(_faults(value, "it", rules or schema()), None)


def _faults(value: Any, place: str, rules: dict) -> Iterator[str]:
    if "$ref" in rules:
        rules = schema()["$defs"][rules["$ref"].removeprefix("#/$defs/")]
    kinds = rules.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_TYPES[kind](value) for kind in kinds):
        yield f"{place} must be {' or '.join(kinds)}, received {_shown(value)}"
        return
    if "enum" in rules and value not in rules["enum"]:
        yield f"{place} must be one of {rules['enum']}, received {_shown(value)}"
    if "minimum" in rules and _TYPES["number"](value) and value < rules["minimum"]:
        yield f"{place} must be {rules['minimum']} or more, received {_shown(value)}"
    if isinstance(value, dict):
        yield from _faults_of_object(value, place, rules)
    if isinstance(value, list) and "items" in rules:
        for i, item in enumerate(value):
            yield from _faults(item, f"{place}[{i}]", rules["items"])


def _faults_of_object(value: dict, place: str, rules: dict) -> Iterator[str]:
    for name in rules.get("required", []):
        if name not in value:
            yield f"{place} has no {name!r}"
    known, others = rules.get("properties", {}), rules.get("additionalProperties", {})
    for name, entry in value.items():
        inside = name if place == "it" else f"{place}.{name}"
        if name in known or others:
            yield from _faults(entry, inside, known.get(name, others))
        elif others is False:
            yield f"{place} has {name!r}, which is not known"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
