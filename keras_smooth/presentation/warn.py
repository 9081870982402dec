"""Warnings with the line of the user's code, whatever the depth of the call stack."""

import functools
import inspect
import types
import warnings
import weakref
from collections.abc import Callable
from typing import Any

# Packages whose frames may be between the user's line and the warning. contextlib is one, since
# functions are decorated by context managers.
_INSIDE = {"keras_smooth", "keras", "tensorflow", "contextlib"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the innermost line that is in none of the packages above.

    Args:
        message: What is wrong, and what to do.
        category: Category of the warning.
    """
    level = 1
    frame = inspect.currentframe()
    while frame and frame.f_back and _is_inside(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def renamed_argument(
    name: str, value: Any, deprecated_name: str, deprecated_value: Any
) -> Any:
    """Returns the value of an argument that has a deprecated name as well.

    Args:
        name: Name of the argument.
        value: Its value; the default is None or empty.
        deprecated_name: Its deprecated name.
        deprecated_value: The value that is passed by this name, or None.

    Raises:
        ValueError: If a value is passed by each name.
    """
    if deprecated_value is None:
        return value
    # An array has no truth value.
    if not (value is None or isinstance(value, list | tuple) and not value):
        raise ValueError(
            f"`{deprecated_name}` is the deprecated name of `{name}`; received both: "
            f"{name}={value!r} and {deprecated_name}={deprecated_value!r}. Pass `{name}` alone."
        )
    warn(f"The argument `{deprecated_name}` is now called `{name}`.", DeprecationWarning)
    return deprecated_value


# For each subject, the messages of earlier warnings, or their topics.
_given: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def warn_once(subject: object, message: str, topic: str = "") -> None:
    """Warns, but only at the first call with a subject and a message.

    Args:
        subject: The subject of the message, such as a model or a function. It is not kept alive.
        message: What is wrong, and what to do.
        topic: If not empty, there is only one warning of this topic for a subject.
    """
    try:
        messages = _given.setdefault(subject, set())
    # Without a hash or weak references, each call warns, and Python filters repetitions.
    except TypeError:
        messages = set()
    if (topic or message) not in messages:
        messages.add(topic or message)
        warn(message)


def advice(check: Callable[..., str | None]) -> Callable[..., None]:
    """Decorates a check, so that it warns with the sentence that it returns, once per subject.

    Errors in the check are ignored, since advice must not end a program.

    Args:
        check: A function whose first argument is the subject, such as a model. It returns the
            sentence of the warning, or None.
    """
    topic = f"{check.__module__}.{check.__qualname__}"

    @functools.wraps(check)
    def advise(subject: object, *args: object) -> None:
        try:
            message = None if topic in _given.get(subject, ()) else check(subject, *args)
        # The code of a model can raise any error.
        except Exception:
            return
        # This is outside of `try`, so that a filter can turn the warning into an error.
        if message:
            warn_once(subject, message, topic)

    return advise


def _is_inside(frame: types.FrameType) -> bool:
    # The name of the module is compared, since AutoGraph writes functions to other files.
    return frame.f_globals.get("__name__", "").split(".")[0] in _INSIDE
