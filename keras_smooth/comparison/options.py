"""The options of a comparison, each listed once with its name, default, values and description.

`compare`, the command line, the keys of stored results and the command in a report use this list.
This module does not import TensorFlow, so that the command line can explain and check the options
at once.
"""

import dataclasses
import functools
import math
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_smooth.checks import choice, finite_number, nearest, refused, whole_number
from keras_smooth.comparison import article

ALL = "all"
DEFAULT_INITIALIZER = "default"
DTYPES = ("float64", "float32")
DEVICES = ("auto", "cpu", "gpu")
LOCAL, RAY = "local", "ray"
EXECUTORS = (LOCAL, RAY)
# Names of the tables of the package, without importing TensorFlow; a test compares them.
METHODS = {
    "lbfgs": "self-scaled L-BFGS",
    "broyden": "self-scaled Broyden",
    "bfgs": "self-scaled BFGS",
    "gauss_newton": "damped Gauss-Newton",
    "tfp_lbfgs": "TFP's L-BFGS",
    "tfp_bfgs": "TFP's BFGS",
    "adam": "Adam, full batch",
}
# The number of epochs that one iteration of a method counts as, since it takes as long.
EPOCHS_OF_ITERATION = {"gauss_newton": 40}
PROBLEMS = (
    "gaussian", "sine", "runge", "front", "morse", "chirp", "polynomial", "oscillation",
    "gaussian_2d", "franke", "himmelblau", "gaussian_5d",
)  # fmt: skip
ACTIVATIONS = (
    "celu", "centered_sigmoid", "elu", "exponential", "gaussian", "gelu", "hard_shrink",
    "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "linear", "log_sigmoid",
    "log_softmax", "logish", "mish", "relu", "relu6", "selu", "sharp_softplus",
    "shifted_softplus", "sigmoid", "silu", "sin", "smelu", "smooth_elu", "smooth_softsign",
    "snake", "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus",
    "sparse_sigmoid", "sparsemax", "squareplus", "tanh", "tanh_shrink",
)  # fmt: skip
# Other valid names: aliases of Keras, and activations that this network cannot use.
OTHER_ACTIVATIONS = ("glu", "hard_swish", "smooth_ramps", "swish", "threshold")
# With more noise, the signal is less than a thousandth of it, and nothing can be learned.
MAX_NOISE = 1000.0
# With more seeds, the list of runs fills the memory. TensorFlow counts iterations in 32 bits.
MAX_SEEDS = 100_000
MAX_EPOCHS = 1_000_000_000
MAX_DIM = 20


def _union(stored: Iterable, requested: Iterable) -> tuple:
    return tuple(dict.fromkeys((*stored, *requested)))


def _option(default: Any, text: str, **metadata: Any) -> Any:
    """Returns the dataclass field of an option.

    Args:
        default: The default of the option.
        text: Its description in the help of the command line.
        metadata: `values`, the possible values, for the completion of shells; `least`, the
            least number of entries of a list, as "+" or "*" for `argparse`; `metavar`;
            `grow`, a function that returns the option of a resumed comparison from the stored
            and the requested one, if they need not be the same; `key`, its older name in
            results.json.
    """
    return dataclasses.field(default=default, metadata={"text": text, **metadata})


def _factor(default: str, text: str, **metadata: Any) -> Any:
    return _option((default,), text, least="+", metavar="NAME", grow=_union, **metadata)


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a comparison, which `keras_smooth.compare` explains.

    Raises:
        TypeError: If an option is of a wrong kind.
        ValueError: If an option has an invalid value.
    """

    activations: tuple[str, ...] = _option(
        article.ACTIVATIONS,
        "names of this package's or Keras' activations, separated by spaces or commas; "
        f"{ALL} for all",
        values=(ALL, *ACTIVATIONS), least="+", metavar="NAME", grow=_union,
    )  # fmt: skip
    seeds: int = _option(3, "number of runs of each activation", grow=max)
    epochs: int = _option(
        1000,
        "iterations of each run; one of gauss_newton counts as "
        f"{EPOCHS_OF_ITERATION['gauss_newton']}, as it takes as long",
        grow=max, key="iterations",
    )  # fmt: skip
    method: tuple[str, ...] = _factor(
        "gauss_newton", "how networks are trained", values=tuple(METHODS), key="optimizer"
    )
    initializer: tuple[str, ...] = _factor(
        DEFAULT_INITIALIZER,
        f"'{DEFAULT_INITIALIZER}', which is that of keras_smooth.Dense, or names of Keras "
        "initializers",
    )
    dtype: tuple[str, ...] = _factor("float64", "of the numbers", values=DTYPES)
    device: str = _option("auto", "where the runs are computed", values=DEVICES)
    problem: tuple[str, ...] = _factor(
        article.PROBLEM,
        "what is learned: a name, or a CSV file with the columns x (one input), y and "
        "optionally dy, d2y",
        values=PROBLEMS,
    )
    architecture: str = _option(article.ARCHITECTURE, "numbers of hidden layers and units")
    baselines: tuple[str, ...] = _option(
        (),
        "methods that train the first smooth activation once more, from seed 0, to see what "
        "the optimizer adds",
        values=tuple(METHODS), least="*", metavar="METHOD", grow=_union, key="beside",
    )  # fmt: skip
    noise: float = _option(
        0.0, "of the y that are trained on, as a fraction of their standard deviation"
    )

    def __post_init__(self) -> None:
        change = functools.partial(object.__setattr__, self)
        change("activations", tuple(self.activations))
        if not self.activations:
            raise ValueError("activations must name at least one activation.")
        # NumPy's integers could not be written as JSON.
        change("seeds", whole_number("seeds", self.seeds, 1, MAX_SEEDS))
        change("epochs", whole_number("epochs", self.epochs, 1, MAX_EPOCHS))
        if finite_number("noise", self.noise, 0.0) > MAX_NOISE:
            expected = f"{MAX_NOISE:g} or less, a fraction of the deviation of y"
            raise ValueError(refused("noise", expected, self.noise))
        for name in FACTORS:
            given = getattr(self, name)
            levels = [given] if isinstance(given, str) else given
            change(name, _distinct_texts(name, levels, "text or a list of it"))
            if not getattr(self, name):
                raise ValueError(f"Name at least one {name}.")
        baselines = _distinct_texts("baselines", self.baselines, "a list of methods")
        # A method by which all activations are trained is no baseline.
        change("baselines", tuple(name for name in baselines if name not in self.method))
        choice("device", self.device, DEVICES)
        known = {"method": METHODS, "baselines": METHODS, "dtype": DTYPES}
        for name, choices in known.items():
            for value in getattr(self, name):
                choice(name, value, choices)
        number = "[1-9][0-9]{0,3}"
        is_text = isinstance(self.architecture, str)
        if not (is_text and re.fullmatch(f"{number}x{number}", self.architecture)):
            expected = (
                "the numbers of hidden layers and of their units, such as "
                f"{article.ARCHITECTURE!r}"
            )
            raise ValueError(refused("architecture", expected, self.architecture))

    def num_iterations(self, method: str) -> int:
        """Returns the number of iterations of a run by a method."""
        return math.ceil(self.epochs / EPOCHS_OF_ITERATION.get(method, 1))

    def stored(self) -> dict[str, Any]:
        """Returns the options by the keys of results.json: the first level of each factor, and all."""
        values = {stored_key(name): getattr(self, name) for name in LIST}
        factors = {key: values[key] for key in map(stored_key, FACTORS)}
        first = {key: levels[0] for key, levels in factors.items()}
        return {**values, **first, "factors": factors}

    def command(self) -> str:
        """Returns the command that runs the same comparison."""
        words = ["keras-smooth", "compare"]
        for name, option in LIST.items():
            value = getattr(self, name)
            # The command line has another default for `baselines`.
            if value != option.default or name == "baselines":
                values = value if isinstance(value, tuple) else (value,)
                words += [f"--{name}", *map(str, values)]
        return shlex.join(words)

    def combined(self, requested: "Options") -> tuple[dict[str, Any], list[str]]:
        """Returns the stored options extended by requested ones, and changes that are errors."""
        grown, changes = {}, []
        for name, option in LIST.items():
            old, new = getattr(self, name), getattr(requested, name)
            if grow := option.metadata.get("grow"):
                grown[name] = grow(old, new)
            # Runs of fewer iterations cannot be compared with the stored ones.
            if new < old if name == "epochs" else not grow and new != old:
                changes.append(f"{name} was {old!r}, is {new!r}")
        return grown, changes


LIST = {option.name: option for option in dataclasses.fields(Options)}
# Variants are named and stored in this order.
FACTORS = ("problem", "dtype", "initializer", "method")


def stored_key(name: str) -> str:
    """Returns the key of an option in results.json, which may be an older name of it."""
    return LIST[name].metadata.get("key", name)


def check_activation(name: str) -> None:
    """Raises a ValueError if there is no activation of that name."""
    if name not in (ALL, *ACTIVATIONS, *OTHER_ACTIVATIONS):
        hint = nearest(name, ACTIVATIONS)
        raise ValueError(f"There is no activation named {name!r}. {hint}")


def gaussian_dim(name: str) -> int:
    """Returns the number of dimensions in a name such as gaussian_7d, 0 for other names."""
    match = re.fullmatch("gaussian_([1-9][0-9]?)d", name)
    return int(match[1]) if match and 2 <= int(match[1]) <= MAX_DIM else 0


def check_problem(name: str) -> None:
    """Raises a ValueError if there is neither a problem nor a file of that name."""
    known = name in PROBLEMS or gaussian_dim(name)
    if not (known or name.lower().endswith(".csv") or Path(name).exists()):
        hint = nearest(name, PROBLEMS)
        raise ValueError(f"There is no problem named {name!r} and no such file. {hint}")


def _distinct_texts(name: str, given: Any, expected: str) -> tuple[str, ...]:
    """Returns the distinct strings of a list; `name` and `expected` are for messages."""
    if not (isinstance(given, list | tuple) and all(isinstance(v, str) for v in given)):
        raise TypeError(refused(name, expected, given))
    return tuple(dict.fromkeys(given))
