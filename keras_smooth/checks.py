"""What every argument check shares: numbers, and the backend that the package needs.

Keras is imported by the last check alone: it has to be asked before Keras is.
"""

import math
import numbers
import operator
import os
import stat
from pathlib import Path
from typing import Any

_REMEDY = (
    'Set the environment variable KERAS_BACKEND to "tensorflow" (or unset it) '
    "before Keras is imported."
)


def regular_file(file: str | Path) -> Path:
    """Returns the path of a file that can be read without end or wait.

    Raises:
        ValueError: If there is none, or it is something else; opening a FIFO would block.
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


def whole_number(name: str, value: Any, least: int) -> int:
    """Returns an argument as an integer.

    Args:
        name: What the argument is called in messages.
        value: The argument; NumPy's integers are integers, True is none.
        least: The least number that is allowed.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is below the least one.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or _is_truth(value):
        raise TypeError(f"{name} must be an integer, received {value!r}.")
    if number < least:
        raise ValueError(f"{name} must be {least} or more, received {value!r}.")
    return number


def finite_number(
    name: str, value: object, least: float = -math.inf, *, above: bool = False
) -> float:
    """Returns an argument as a finite number.

    Args:
        name: What the argument is called in messages.
        value: The argument; NumPy's numbers are numbers, True is none.
        least: The least number that is allowed.
        above: Whether the least number itself is not allowed.

    Raises:
        TypeError: If it is no real number.
        ValueError: If it is not finite, or too small.
    """
    if not isinstance(value, numbers.Real) or _is_truth(value):
        raise TypeError(f"{name} must be a number, received {value!r}.")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, received {value!r}.")
    if value < least or above and value == least:
        bound = f"above {least}" if above else f"{least} or more"
        raise ValueError(f"{name} must be {bound}, received {value!r}.")
    return float(value)


def _is_truth(value: object) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


def require_keras_3_on_tensorflow() -> None:
    """Says in one sentence where the package cannot work: another backend, or Keras 2.

    Raises:
        ImportError: If so.
    """
    # Asked of the environment first: with a backend that is not installed, importing
    # Keras itself would fail before there is anything to ask.
    _require_tensorflow(os.environ.get("KERAS_BACKEND") or "tensorflow")
    import keras

    if int(keras.__version__.split(".")[0]) < 3:
        raise ImportError(
            f"keras_smooth needs Keras 3, but Keras {keras.__version__} is installed. "
            'Upgrade with: pip install --upgrade "keras>=3"'
        )
    _require_tensorflow(keras.config.backend())


def _require_tensorflow(backend: str) -> None:
    if backend != "tensorflow":
        raise ImportError(
            "keras_smooth needs Keras on the TensorFlow backend, but the backend "
            f"is {backend!r}. {_REMEDY}"
        )
