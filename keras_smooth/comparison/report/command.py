"""The command that makes the results again."""

import dataclasses
import shlex

from keras_smooth.comparison.problems import OWN_DATA
from keras_smooth.comparison.results import Results
from keras_smooth.comparison.settings import Settings


def command(results: Results) -> str:
    """Returns the command line, or why there is none."""
    settings = results.settings
    if settings.problem == OWN_DATA or settings.functions:
        return "keras_smooth.compare, called with arrays or functions from Python"
    parts = ["keras-smooth", "compare"]
    for field in dataclasses.fields(Settings):
        value = getattr(settings, field.name)
        if field.compare and (value != field.default or field.name == "beside"):
            values = value if isinstance(value, tuple) else (value,)
            parts += [f"--{field.name}", *map(str, values)]
    return shlex.join(parts)
