"""Checks of arguments, which all modules use, and of the installed backend.

Keras and NumPy are imported in functions only: the check of the backend must run before Keras is
imported, and the command line starts without NumPy.
"""

import difflib
import importlib
import importlib.metadata
import inspect
import math
import numbers
import operator
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# The oldest supported versions. They are not requirements of the package, since pip would install
# TensorFlow next to tensorflow-cpu, tf-nightly or another build.
OLDEST = {"tensorflow": "2.16", "keras": "3.10"}
_TITLES = {"tensorflow": "TensorFlow", "keras": "Keras"}
_OTHER_BACKENDS = ("jax", "torch", "openvino")
# The largest number of characters of a received value in a message.
_MAX_SHOWN = 80


def shown(value: object) -> str:
    """Returns the `repr` of a value for a message, in one line and shortened."""
    if isinstance(value, str):
        # Spaces inside of quotes are kept, and the quotes are closed.
        return repr(value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}...")
    text = " ".join(repr(value).split())
    if len(text) > _MAX_SHOWN:
        return f"{text[: _MAX_SHOWN - 3]}..."
    return text


def refused(name: str, expected: str, value: object) -> str:
    """Returns the message of an error for an argument of a wrong kind or value."""
    return f"{name} must be {expected}, received {shown(value)}."


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns a sentence with the names that are most similar to a misspelt name, or all."""
    names = sorted(names)
    matches = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return (
        f"Did you mean {', '.join(matches)}?" if matches else f"Known: {', '.join(names)}."
    )


def choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Returns an argument after checking that it is one of a few strings.

    Raises:
        ValueError: If it is another string.
        TypeError: If it is no string.
    """
    choices = list(choices)
    if isinstance(value, str) and value in choices:
        return value
    kind = ValueError if isinstance(value, str) else TypeError
    raise kind(
        f"{name} must be one of {', '.join(map(repr, choices))}; received {shown(value)}."
    )


def boolean(name: str, value: Any) -> bool:
    """Returns an argument as a `bool`; NumPy's booleans are accepted, 1 and 0 are not.

    Raises:
        TypeError: If it is no boolean.
    """
    if not _is_bool(value):
        raise TypeError(refused(name, "True or False", value))
    return bool(value)


def function(name: str, value: Any, *arguments: str) -> Any:
    """Returns an argument after checking that it can be called with some positional arguments.

    Args:
        name: The name of the argument in messages.
        value: The argument.
        *arguments: The names of the positional arguments, for messages.

    Raises:
        TypeError: If it cannot be called with them, or is a class or a layer.
    """
    import keras

    *first, last = arguments
    expected = f"a function of {', '.join(first)}{' and ' if first else ''}{last}"
    if not callable(value) or isinstance(value, type | keras.layers.Layer):
        raise TypeError(refused(name, expected, value))
    try:
        inspect.signature(value).bind(*arguments)
    except TypeError as error:
        raise TypeError(
            f"{name} must be {expected}, received {shown(value)}, which does not accept these: "
            f"{error}."
        ) from None
    # A builtin may have no signature.
    except ValueError:
        pass
    return value


def text(name: str, value: Any) -> str:
    """Returns an argument after checking that it is a string.

    Raises:
        TypeError: If it is no string.
    """
    if not isinstance(value, str):
        raise TypeError(refused(name, "text", value))
    return value


def path(name: str, value: Any) -> Path:
    """Returns an argument as a path.

    Raises:
        TypeError: If it is no path.
        ValueError: If it is empty or contains NUL.
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(refused(name, "a path", value))
    if not os.fspath(value) or "\0" in str(value):
        raise ValueError(
            refused(name, "a path that is not empty and has no NUL in it", value)
        )
    return Path(value)


def real_array(name: str, value: Any) -> "np.ndarray":
    """Returns an argument as an array of real numbers; booleans are not accepted.

    Raises:
        TypeError: If it contains anything else.
        ValueError: If its rows have different lengths.
    """
    import numpy as np

    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} cannot be made an array: {error}") from None
    except (TypeError, NotImplementedError) as error:
        raise TypeError(f"{name} cannot be made an array: {error}") from None
    # NumPy does not count bfloat16, which TensorFlow adds, as a float.
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name} must hold real numbers, received {array.dtype}.")
    return array


def regular_file(file: str | Path) -> Path:
    """Returns the path of a regular file.

    Raises:
        ValueError: If it does not exist, or is no regular file; reading a FIFO would block.
    """
    try:
        mode = os.stat(file).st_mode
    except OSError as error:
        raise ValueError(f"Cannot read {file}: {error.strerror}.") from None
    if not stat.S_ISREG(mode):
        kind = "directory" if stat.S_ISDIR(mode) else "device, FIFO or socket"
        raise ValueError(f"{file} is a {kind}; expected a regular file.")
    if not os.access(file, os.R_OK):
        raise ValueError(f"Cannot read {file}: Permission denied.")
    return Path(file)


def whole_number(name: str, value: Any, least: int, most: int = sys.maxsize) -> int:
    """Returns an argument as an integer.

    Args:
        name: The name of the argument in messages.
        value: The argument. NumPy's integers are accepted, True is not.
        least: The least number that is allowed.
        most: The largest number that is allowed.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is out of this range.
    """
    try:
        # NumPy 1 accepts a boolean as an index.
        number = None if _is_bool(value) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(refused(name, "an integer", value))
    if number < least:
        raise ValueError(refused(name, f"{least} or more", value))
    if number > most:
        raise ValueError(refused(name, f"{most:,} or less", value))
    return number


def finite_number(
    name: str, value: object, least: float = -math.inf, *, above: bool = False
) -> float:
    """Returns an argument as a finite number.

    Args:
        name: The name of the argument in messages.
        value: The argument. NumPy's numbers are accepted, True is not.
        least: The least number that is allowed.
        above: Whether the least number itself is not allowed.

    Raises:
        TypeError: If it is no real number.
        ValueError: If it is not finite, or too small.
    """
    if not isinstance(value, numbers.Real) or _is_bool(value):
        raise TypeError(refused(name, "a number", value))
    try:
        number = float(value)
    # The integer is too large for a float.
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(refused(name, "finite", value))
    if number < least or above and number == least:
        bound = f"above {least}" if above else f"{least} or more"
        raise ValueError(refused(name, bound, value))
    return number


def _is_bool(value: object) -> bool:
    """Returns whether a value is a boolean of Python or NumPy, without importing NumPy."""
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


def require_keras_on_tensorflow() -> None:
    """Raises an error, with the command to run, if TensorFlow or Keras cannot be used.

    Raises:
        ImportError: If TensorFlow or Keras is not installed or too old, or if Keras has
            another backend.
    """
    # If the backend is not installed, importing Keras fails before its name can be read.
    if "keras" not in sys.modules:
        _require_backend(os.environ.get("KERAS_BACKEND") or "tensorflow")
    tensorflow, keras = map(_imported, OLDEST)
    _require_version("tensorflow", tensorflow.__version__)
    _require_version("keras", keras.__version__)
    _require_backend(keras.config.backend())


def _imported(name: str) -> ModuleType:
    missing = name
    try:
        module = importlib.import_module(name)
        # Python can import the folder that a removed package may leave behind.
        if hasattr(module, "__version__"):
            return module
    except ModuleNotFoundError as error:
        if error.name not in (name, *_OTHER_BACKENDS):
            raise
        missing = error.name
    if missing != name:
        _require_backend(missing)
    raise ImportError(
        f"keras_smooth needs {_TITLES[name]}, which is not installed. Install it with: "
        'pip install "keras-smooth[tensorflow]"'
    )


def _require_version(name: str, version: str) -> None:
    oldest = OLDEST[name]
    if _minor(version) < _minor(oldest):
        # tensorflow-cpu and other packages have the same module.
        builds = importlib.metadata.packages_distributions().get(name, [name])
        raise ImportError(
            f"keras_smooth needs {_TITLES[name]} {oldest} or newer, but {_TITLES[name]} "
            f"{version} is installed. Upgrade it with: pip install --upgrade "
            f'"{builds[0]}>={oldest}"'
        )


def _minor(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")[:2]))


def _require_backend(backend: str) -> None:
    if backend != "tensorflow":
        raise ImportError(
            "keras_smooth needs Keras on the TensorFlow backend, but the backend is "
            f"{backend!r}. Set it before Keras is imported, in a shell with: "
            "export KERAS_BACKEND=tensorflow"
        )
