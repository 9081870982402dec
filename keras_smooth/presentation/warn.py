"""Warnings that point at the user's line, however deep the code is that warns."""

import functools
import inspect
import types
import warnings
import weakref
from collections.abc import Callable

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


def warn_once(subject: object, message: str, topic: str = "") -> None:
    """Warns at the first call with a subject and a message, and at no other.

    Args:
        subject: What the message is about, as a model or a function. Of one that is gone
            nothing is kept.
        message: What is wrong, and what to do.
        topic: If given, there is one warning of it, whatever the message.
    """
    try:
        messages = _said.setdefault(subject, set())
    # What has no hash or no weak references is told each time, which Python's filters limit.
    except TypeError:
        messages = set()
    if (topic or message) not in messages:
        messages.add(topic or message)
        warn(message)


def advice(check: Callable[..., str | None]) -> Callable[..., None]:
    """Makes a check warn of what it returns, once for each subject.

    An error in the check is dropped: what only advises cannot end anything.

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
        # Not inside of the try: who makes warnings errors gets this one.
        if message:
            warn_once(subject, message, topic)

    return advise


def _is_inside(frame: types.FrameType) -> bool:
    # By the module's name: a function that AutoGraph has rewritten lies in another file.
    return frame.f_globals.get("__name__", "").split(".")[0] in _INSIDE
