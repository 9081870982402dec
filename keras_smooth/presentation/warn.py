"""Warnings that point at the user's line, however deep the code is that warns."""

import functools
import inspect
import types
import warnings
import weakref
from collections.abc import Callable

# Packages whose frames are between the user's line and the cause.
_INSIDE = {"keras_smooth", "keras", "tensorflow"}


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


_said: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def warn_once(subject: object, message: str, topic: str = "") -> None:
    """Warns at the first call with a subject and a message only.

    Args:
        subject: What the message is about, as a model or a function. Of one that is gone
            nothing is kept.
        message: What is wrong, and what to do.
        topic: If given, there is one warning of it, whatever the message.
    """
    try:
        messages = _said.setdefault(subject, set())
    # Without a hash or weak references it warns each time, as often as Python's filters allow.
    except TypeError:
        messages = set()
    if (topic or message) not in messages:
        messages.add(topic or message)
        warn(message)


def advice(check: Callable[..., str | None]) -> Callable[..., None]:
    """Makes a check warn with the sentence that it returns, once for each subject.

    Errors in the check are ignored, since advice must not end a program.

    Args:
        check: Function whose first argument is the subject, as a model. It returns the
            sentence to warn with, or None.
    """
    topic = f"{check.__module__}.{check.__qualname__}"

    @functools.wraps(check)
    def advise(subject: object, *args: object) -> None:
        try:
            message = None if topic in _said.get(subject, ()) else check(subject, *args)
        # A model's own code may raise anything.
        except Exception:
            return
        # Outside of the try, so that filters can make it an error.
        if message:
            warn_once(subject, message, topic)

    return advise


def _is_inside(frame: types.FrameType) -> bool:
    # Compare names of modules: functions that AutoGraph has rewritten are in other files.
    return frame.f_globals.get("__name__", "").split(".")[0] in _INSIDE
