"""Warnings that point at the user's line, however deep the code is that warns."""

import inspect
import types
import warnings
import weakref

# Between the user's line and the cause stand frames of these packages.
_INSIDE = {"keras_smooth", "keras", "tensorflow"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the innermost line of code that belongs to none of the packages used here.

    Args:
        message: What is wrong, and what to do.
        category: Of the warning.
    """
    level = 1
    frame = inspect.currentframe()
    while frame and frame.f_back and _is_inside(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


_said: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def warn_once(subject: object, message: str) -> None:
    """Warns at the first call with a subject and a message, and at no other.

    Args:
        subject: What the message is about, as a model or a function. Of one that is gone
            nothing is kept.
        message: What is wrong, and what to do.
    """
    try:
        messages = _said.setdefault(subject, set())
    # What has no hash or no weak references is told each time, which Python's filters limit.
    except TypeError:
        messages = set()
    if message not in messages:
        messages.add(message)
        warn(message)


def _is_inside(frame: types.FrameType) -> bool:
    # By the module's name: a function that AutoGraph has rewritten lies in another file.
    return frame.f_globals.get("__name__", "").split(".")[0] in _INSIDE
