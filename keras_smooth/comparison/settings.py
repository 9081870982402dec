"""The settings of a comparison, validated before anything runs, and its runs.

Every activation is trained in every variant. A variant is one level of each of four factors:
problem, dtype, initializer and method. The first levels are the main variant, which the report
describes; a table in it compares the other variants.
"""

import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_smooth import activations, registry
from keras_smooth.checks import refused, shown
from keras_smooth.comparison.options import ALL, DEFAULT_INITIALIZER, FACTORS, Options

GLOROT = "glorot_uniform"


class Variant(NamedTuple):
    """One level of each factor, by which a network is trained."""

    problem: str
    dtype: str
    initializer: str
    method: str

    def levels_other_than(self, other: "Variant") -> dict[str, str]:
        """Returns the levels, by factor, in which this variant differs from another one."""
        levels = self._asdict().items()
        return {name: level for name, level in levels if level != getattr(other, name)}


class RunId(NamedTuple):
    """The id of a run, by which the settings, the executors and the report refer to it."""

    activation: str
    variant: Variant
    seed: int

    def __str__(self) -> str:
        return f"{self.activation}, seed {self.seed} ({', '.join(self.variant)})"

    def program(self) -> tuple[str, Variant]:
        """Returns a key that is the same for runs that can use one compiled program."""
        return self.activation, self.variant._replace(initializer="")


# Lists of runs that share one compiled program, in the order in which to execute them.
Programs = Sequence[Sequence[RunId]]


@dataclasses.dataclass(frozen=True)
class Settings(Options):
    """The validated options of one comparison, with its functions and runs.

    Args:
        functions: The functions of activations by name. Only their names are stored and compared.
    """

    functions: Mapping[str, Callable] = dataclasses.field(
        default_factory=dict, compare=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.activations:
            if reason := _reason_unusable(self.function(name)):
                raise ValueError(
                    f"The activation {name!r} cannot be used in this network ({reason}): "
                    "register a function of one tensor that keeps its shape."
                )
        for level in self.initializer:
            _check_initializer(level)
        self.device_name()

    def variants(self) -> list[Variant]:
        """Returns all variants, the main one first."""
        levels = (getattr(self, name) for name in FACTORS)
        return [Variant(*combination) for combination in itertools.product(*levels)]

    @property
    def main(self) -> Variant:
        return self.variants()[0]

    def of_variant(self, variant: Variant) -> "Settings":
        """Returns the settings of a comparison that has one variant only."""
        levels: Any = {name: (level,) for name, level in variant._asdict().items()}
        return dataclasses.replace(self, **levels, baselines=())

    def runs(self) -> Iterator[RunId]:
        """Yields all runs."""
        seeds = range(self.seeds)
        combinations = itertools.product(self.variants(), self.activations, seeds)
        for variant, activation, seed in combinations:
            yield RunId(activation, variant, seed)
        question = self.open_question()
        if question and GLOROT not in self.initializer:
            yield from (RunId("sigmoid", question, seed) for seed in seeds)
        yield from self.baseline_runs()

    def baseline_runs(self) -> list[RunId]:
        """Returns the run of each baseline."""
        activation, main = self.baseline_activation(), self.main
        return [RunId(activation, main._replace(method=name), 0) for name in self.baselines]

    def function(self, activation: str) -> Callable:
        """Returns the function of an activation."""
        return self.functions.get(activation) or activations.get(activation)

    def depth_and_width(self) -> tuple[int, int]:
        """Returns the number of hidden layers and of their units."""
        depth, width = self.architecture.split("x")
        return int(depth), int(width)

    def device_name(self) -> str:
        """Returns the device that the runs use: "CPU:0" or "GPU:0"."""
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        if self.device == "gpu" and not has_gpu:
            raise ValueError(
                "device='gpu', but TensorFlow sees no GPU here. Install keras-smooth[gpu] "
                "on a machine with one, or use device='auto'."
            )
        return "GPU:0" if has_gpu and self.device != "cpu" else "CPU:0"

    def baseline_activation(self) -> str:
        """Returns the activation that the baselines train: the first smooth one."""
        for name in self.activations:
            if (registry.smoothness(self.function(name)) or 0) >= 2:
                return name
        return self.activations[0]

    def open_question(self) -> Variant | None:
        """Returns the variant in which sigmoid is trained from Glorot's initializer as well.

        These runs answer the article's question why sigmoid is inferior. None if the comparison
        cannot answer it.
        """
        is_asked = "sigmoid" in self.activations and self.main.method != "adam"
        if not is_asked or self.main.initializer != DEFAULT_INITIALIZER:
            return None
        return self.main._replace(initializer=GLOROT)

    def can_be_named(self) -> bool:
        """Returns whether a new process finds the same activations by their names."""
        known = registry.function_names()
        return all(
            name in known and self.function(name) is activations.get(name)
            for name in self.functions
        )


def all_activations() -> tuple[str, ...]:
    """Returns the names of all activations, of Keras and registered, that a network can use."""
    names = registry.function_names()
    return tuple(name for name in names if not _reason_unusable(activations.get(name)))


def functions_by_name(
    given: str | Callable | Iterable[str | Callable],
) -> dict[str, Callable]:
    """Returns the functions of activations by their names.

    Args:
        given: A name, a function, or a list of these. The name "all" stands for all activations.

    Raises:
        TypeError: If an activation is neither a name nor a function.
        ValueError: If a name is unknown, or the name of a function cannot name files.
    """
    given = [given] if isinstance(given, str) or callable(given) else given
    if not isinstance(given, list | tuple):
        valid = "a list of names or functions, such as ['tanh']"
        raise TypeError(refused("activations", valid, given))
    # Compare strings only: the truth of an array raises an error.
    if ALL in [item for item in given if isinstance(item, str)]:
        known = (*all_activations(), ALL)
        more = (item for item in given if not isinstance(item, str) or item not in known)
        given = [*known[:-1], *more]
    functions: dict[str, Callable] = {}
    for activation in given:
        name = activation if isinstance(activation, str) else _name_of(activation)
        if name in functions:
            raise ValueError(f"The activation {name!r} is named twice.")
        functions[name] = activations.get(activation)
    return functions


def _name_of(function: Any) -> str:
    if not callable(function):
        raise TypeError(refused("activations", "names or functions", function))
    name = getattr(function, "__name__", "")
    if not re.fullmatch(r"\w[\w ,.=()+-]*", name):
        valid = "functions with a name that tables and files can have, by def or __name__"
        raise ValueError(refused("activations", valid, function))
    return name


def _reason_unusable(function: Callable) -> str:
    """Returns the reason why the network cannot use a function, or ""."""
    try:
        inspect.signature(function).bind(None)
        if tuple(function(tf.zeros((2, 4))).shape) != (2, 4):
            return "it changes the shape"
    except TypeError as error:
        return str(error)
    return ""


def _check_initializer(name: str) -> None:
    if name == DEFAULT_INITIALIZER:
        return
    try:
        keras.initializers.get(name)((1, 2))
    # Initializers that need arguments or another package, or make no kernels, raise any error.
    except Exception:
        raise ValueError(
            f"Unknown initializer {shown(name)}: use {DEFAULT_INITIALIZER!r} or the name of a "
            "Keras initializer that makes a kernel without arguments, such as 'glorot_uniform', "
            "'he_normal', 'lecun_normal'."
        ) from None
