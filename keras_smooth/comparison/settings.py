"""What a comparison is asked to do, checked before anything runs.

Every activation is trained in every variant: one level of each of four factors, problem, dtype,
initializer and method. The first levels make the main variant, which the report is of; a table
sets the others beside it.
"""

import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_smooth import activations, registry
from keras_smooth.checks import finite_number, shown, whole_number
from keras_smooth.comparison import article
from keras_smooth.lbfgs import minimizers
from keras_smooth.registry import nearest

TRAINING_METHODS = (*minimizers.MINIMIZERS, "adam")
DTYPES = ("float64", "float32")
# A thousandth of signal: beyond, nothing is learned, and squares end at 1e308.
MOST_NOISE = 1000.0
DEVICES = ("auto", "cpu", "gpu")
DEFAULT_INITIALIZER = "default"
ALL = "all"
# Beyond, what is left to run fills the memory; TensorFlow counts iterations in 32 bits.
MOST_SEEDS = 100_000
MOST_EPOCHS = 1_000_000_000


class Variant(NamedTuple):
    """What a network learns, and how: a level of each factor."""

    problem: str
    dtype: str
    initializer: str
    method: str

    def apart_from(self, other: "Variant") -> dict[str, str]:
        """Returns the levels that another variant does not have, by factor."""
        return {
            name: level
            for name, level in self._asdict().items()
            if level != getattr(other, name)
        }


FACTORS = Variant._fields


@dataclasses.dataclass(frozen=True)
class Settings:
    """One comparison. See `keras_smooth.compare` for the arguments.

    Args:
        problem, dtype, initializer, method: Levels of the factors; text stands for one.
        functions: The activations that are the user's own functions, by name. They are no
            part of what is stored and compared: their names stand for them.
    """

    activations: tuple[str, ...] = article.ACTIVATIONS
    seeds: int = 3
    epochs: int = 1000
    method: Sequence[str] = ("lbfgs",)
    initializer: Sequence[str] = (DEFAULT_INITIALIZER,)
    dtype: Sequence[str] = ("float64",)
    device: str = "auto"
    problem: Sequence[str] = (article.PROBLEM,)
    architecture: str = article.ARCHITECTURE
    beside: Sequence[str] = ()
    noise: float = 0.0
    functions: Mapping[str, Callable] = dataclasses.field(
        default_factory=dict, compare=False
    )

    def __post_init__(self):
        object.__setattr__(self, "activations", tuple(self.activations))
        if not self.activations:
            raise ValueError("activations must name at least one activation.")
        for name in self.activations:
            _check_activation(name, self.function(name))
        if len(set(self.activations)) < len(self.activations):
            raise ValueError(
                f"An activation is named twice: {', '.join(self.activations)}."
            )
        _check_count("seeds", self.seeds, MOST_SEEDS)
        _check_count("epochs", self.epochs, MOST_EPOCHS)
        for name in FACTORS:
            object.__setattr__(self, name, _levels(name, getattr(self, name)))
        for level in self.method:
            _check_choice("method", level, TRAINING_METHODS)
        for level in self.dtype:
            _check_choice("dtype", level, DTYPES)
        for level in self.initializer:
            _check_initializer(level)
        object.__setattr__(self, "beside", _methods_beside(self.beside, self.method))
        _check_choice("device", self.device, DEVICES)
        if finite_number("noise", self.noise, least=0.0) > MOST_NOISE:
            raise ValueError(
                f"noise must be {MOST_NOISE:g} or less, a fraction of the deviation of y; "
                f"received {self.noise:g}."
            )
        _check_architecture(self.architecture)
        self.device_name()

    def variants(self) -> list[Variant]:
        """Returns all variants, the main one first."""
        return [
            Variant(*levels)
            for levels in itertools.product(*(getattr(self, name) for name in FACTORS))
        ]

    @property
    def main(self) -> Variant:
        return self.variants()[0]

    def of(self, variant: Variant) -> "Settings":
        """Returns the settings of one variant alone."""
        levels: dict[str, Any] = {
            name: (level,) for name, level in variant._asdict().items()
        }
        return dataclasses.replace(self, **levels, beside=())

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
                "on a machine with one, or take device='auto'."
            )
        return "GPU:0" if has_gpu and self.device != "cpu" else "CPU:0"

    def all_methods(self) -> tuple[str, ...]:
        """Returns the methods of all runs and those beside."""
        return (*self.method, *self.beside)

    def activation_beside(self) -> str:
        """Returns the activation that the methods of `beside` train: the first smooth one."""
        smooth = (
            name
            for name in self.activations
            if (registry.smoothness(self.function(name)) or 0) >= 2
        )
        return next(smooth, self.activations[0])

    def asks_open_question(self) -> bool:
        """Whether sigmoid is to run from Glorot's start as well, beside the default."""
        return (
            "sigmoid" in self.activations
            and self.main.initializer == DEFAULT_INITIALIZER
            and self.main.method != "adam"
        )


def all_activations() -> tuple[str, ...]:
    """Returns the names of the activations, of Keras and registered, that a network can have."""
    return tuple(
        name
        for name in registry.function_names()
        if not _reason_unusable(activations.get(name))
    )


def by_name(given: str | Callable | Iterable[str | Callable]) -> dict[str, Callable]:
    """Returns the functions of activations: names, functions, or "all".

    Raises:
        TypeError: If one is neither.
        ValueError: If a name is unknown, or a function has none that can name files.
    """
    if isinstance(given, str) and given == ALL:
        given = all_activations()
    if not isinstance(given, list | tuple):
        raise TypeError(
            "activations must be a list of names or functions, such as ['tanh'], received "
            f"{shown(given)}."
        )
    found = {}
    for activation in given:
        if not isinstance(activation, str) and not callable(activation):
            raise TypeError(
                f"activations must be names or functions, received {shown(activation)}."
            )
        name = activation if isinstance(activation, str) else _name_of(activation)
        if name in found:
            raise ValueError(f"The activation {name!r} is named twice.")
        found[name] = activations.get(activation)
    return found


def _name_of(function: Callable) -> str:
    name = getattr(function, "__name__", "")
    if not re.fullmatch(r"\w[\w ,.=()+-]*", name):
        raise ValueError(
            f"The activation {function!r} has no name that tables and files can have: "
            "define it with def, or set its __name__."
        )
    return name


def _check_activation(name: str, function: Callable) -> None:
    if reason := _reason_unusable(function):
        raise ValueError(
            f"The activation {name!r} cannot be used in this network ({reason}): register a "
            "function of one tensor that keeps its shape."
        )


def _reason_unusable(function: Callable) -> str:
    try:
        inspect.signature(function).bind(None)
        if tuple(function(tf.zeros((2, 4))).shape) != (2, 4):
            return "it changes the shape"
    except TypeError as error:
        return str(error)
    return ""


def _check_count(name: str, value: object, most: int) -> None:
    if whole_number(name, value, least=1) > most:
        raise ValueError(f"{name} must be {most:,} or less, received {shown(value)}.")


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str):
        raise TypeError(
            f"{name} must be one of {', '.join(choices)}; received {shown(value)}."
        )
    if value not in choices:
        raise ValueError(f"Unknown {name} {shown(value)}. {nearest(value, choices)}")


def _check_architecture(text: str) -> None:
    if not isinstance(text, str) or not re.fullmatch(
        "[1-9][0-9]{0,3}x[1-9][0-9]{0,3}", text
    ):
        raise ValueError(
            "architecture must be the numbers of hidden layers and of their units, such as "
            f"{article.ARCHITECTURE!r}; received {shown(text)}."
        )


def _levels(factor: str, given: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the levels of a factor without repetition."""
    if not isinstance(given, str | list | tuple):
        raise TypeError(f"{factor} must be text or a list of it, received {shown(given)}.")
    names = _without_repetition(factor, (given,) if isinstance(given, str) else given)
    if not names:
        raise ValueError(f"Name at least one {factor}.")
    return names


def _without_repetition(name: str, words: Iterable[str]) -> tuple[str, ...]:
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"{name} must be text or a list of it, received {shown(word)}.")
    return tuple(dict.fromkeys(words))


def _methods_beside(names: Iterable[str], methods: Iterable[str]) -> tuple[str, ...]:
    """Returns methods without repetition, and without those that all runs are by."""
    if not isinstance(names, list | tuple):
        raise TypeError(f"beside must be a list of methods, received {shown(names)}.")
    names = _without_repetition("beside", names)
    for name in names:
        _check_choice("method", name, TRAINING_METHODS)
    return tuple(name for name in names if name not in methods)


def _check_initializer(name: str) -> None:
    if name == DEFAULT_INITIALIZER:
        return
    try:
        keras.initializers.get(name)((1, 2))
    # One that needs arguments or another package, or makes no kernels, fails in its own way.
    except Exception:
        raise ValueError(
            f"Unknown initializer {shown(name)}: take {DEFAULT_INITIALIZER!r} or the name of a "
            "Keras initializer that makes a kernel without arguments, such as "
            "'glorot_uniform', 'he_normal', 'lecun_normal'."
        ) from None
