"""What a comparison is asked to do, checked before anything runs."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import tensorflow as tf

from keras_smooth import activations, registry
from keras_smooth.checks import finite_number, whole_number
from keras_smooth.comparison import article
from keras_smooth.lbfgs import minimizers
from keras_smooth.registry import nearest

TRAINING_METHODS = (*minimizers.MINIMIZERS, "adam")
DTYPES = ("float64", "float32")
DEVICES = ("auto", "cpu", "gpu")
DEFAULT_INITIALIZER = "default"
ALL = "all"
# Beyond, what is left to run fills the memory; TensorFlow counts iterations in 32 bits.
MOST_SEEDS = 100_000
MOST_EPOCHS = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class Settings:
    """One comparison. See `keras_smooth.compare` for the arguments.

    Args:
        functions: The activations that are the user's own functions, by name. They are no
            part of what is stored and compared: their names stand for them.
    """

    activations: tuple[str, ...] = article.ACTIVATIONS
    seeds: int = 3
    epochs: int = 1000
    method: str = "lbfgs"
    initializer: str = DEFAULT_INITIALIZER
    dtype: str = "float64"
    device: str = "auto"
    problem: str = article.PROBLEM
    architecture: str = article.ARCHITECTURE
    beside: Sequence[str] = ()
    noise: float = 0.0
    functions: Mapping[str, Callable] = dataclasses.field(
        default_factory=dict, compare=False
    )

    def __post_init__(self):
        object.__setattr__(self, "activations", tuple(self.activations))
        if not self.activations:
            raise ValueError("Name at least one activation.")
        for name in self.activations:
            _check_activation(name, self.function(name))
        if len(set(self.activations)) < len(self.activations):
            raise ValueError(
                f"An activation is named twice: {', '.join(self.activations)}."
            )
        _check_count("seeds", self.seeds, MOST_SEEDS)
        _check_count("epochs", self.epochs, MOST_EPOCHS)
        _check_choice("method", self.method, TRAINING_METHODS)
        object.__setattr__(self, "beside", _methods_beside(self.beside, self.method))
        _check_choice("dtype", self.dtype, DTYPES)
        _check_choice("device", self.device, DEVICES)
        finite_number("noise", self.noise, least=0.0)
        _check_initializer(self.initializer)
        _check_architecture(self.architecture)
        self.device_name()

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
            and self.initializer == DEFAULT_INITIALIZER
            and self.method != "adam"
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
    if given == ALL:
        given = all_activations()
    if isinstance(given, str) or callable(given) or not isinstance(given, Iterable):
        raise TypeError(
            "activations must be a list of names or functions, such as ['tanh'], received "
            f"{given!r}."
        )
    found = {}
    for activation in given:
        if not isinstance(activation, str) and not callable(activation):
            raise TypeError(
                f"An activation must be a name or a function, received {activation!r}."
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
        raise ValueError(f"{name} must be {most:,} or less, received {value!r}.")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"Unknown {name} {value!r}. {nearest(str(value), choices)}")


def _check_architecture(text: str) -> None:
    if not isinstance(text, str) or not re.fullmatch(
        "[1-9][0-9]{0,3}x[1-9][0-9]{0,3}", text
    ):
        raise ValueError(
            "architecture must be the numbers of hidden layers and of their units, such as "
            f"{article.ARCHITECTURE!r}; received {text!r}."
        )


def _methods_beside(names: Iterable[str], method: str) -> tuple[str, ...]:
    """Returns methods without repetition, and without the one that all runs are by."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"beside must be a list of methods, received {names!r}.")
    names = tuple(dict.fromkeys(names))
    for name in names:
        _check_choice("method", name, TRAINING_METHODS)
    return tuple(name for name in names if name != method)


def _check_initializer(name: str) -> None:
    if name == DEFAULT_INITIALIZER:
        return
    try:
        keras.initializers.get(name)
    except ValueError:
        raise ValueError(
            f"Unknown initializer {name!r}: take {DEFAULT_INITIALIZER!r} or the name of a "
            "Keras initializer such as 'glorot_uniform', 'he_normal', 'lecun_normal'."
        ) from None
