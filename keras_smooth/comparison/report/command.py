"""The command that makes the results again."""

import dataclasses
import shlex

from keras_smooth import activations, registry
from keras_smooth.comparison.problems import OWN_DATA, OWN_FUNCTION
from keras_smooth.comparison.results import Results
from keras_smooth.comparison.settings import Settings


def command(results: Results) -> str:
    """Returns the command line, or why there is none."""
    settings = results.settings
    if {OWN_DATA, OWN_FUNCTION} & {*settings.problem} or not _can_be_named(settings):
        return "keras_smooth.compare, called with arrays or functions from Python"
    parts = ["keras-smooth", "compare"]
    for field in dataclasses.fields(Settings):
        value = getattr(settings, field.name)
        if field.compare and (value != field.default or field.name == "beside"):
            values = value if isinstance(value, tuple) else (value,)
            parts += [f"--{field.name}", *map(str, values)]
    return shlex.join(parts)


def _can_be_named(settings: Settings) -> bool:
    """Whether all activations are those that their names stand for in a new process."""
    known = registry.function_names()
    return all(
        name in known and settings.function(name) is activations.get(name)
        for name in settings.functions
    )
