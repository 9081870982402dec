"""Advice: a warning before a fit, which can never end one."""

import functools
import weakref
from collections.abc import Callable
from typing import Any

from keras_smooth.presentation.warn import warn


def advice(check: Callable[..., str | None]) -> Callable[..., None]:
    """Makes a check warn of what it returns, once for each subject.

    An error in the check is dropped: without advice a fit goes on as well.

    Args:
        check: Function whose first argument is the subject, as a model. It returns the
            sentence to warn with, or None.
    """
    return _advice(check, lambda message: "")


def advice_on_each(check: Callable[..., str | None]) -> Callable[..., None]:
    """Does as `advice`, but warns once for each subject and sentence."""
    return _advice(check, lambda message: message)


def _advice(check: Callable, key: Callable[[str], str]) -> Callable[..., None]:
    told: weakref.WeakKeyDictionary[Any, set] = weakref.WeakKeyDictionary()

    @functools.wraps(check)
    def advise(subject: Any, *args: Any, **kwargs: Any) -> None:
        keys = told.setdefault(subject, set())
        if "" in keys:
            return
        try:
            message = check(subject, *args, **kwargs)
        # A model's own code may raise anything.
        except Exception:
            return
        if message and key(message) not in keys:
            keys.add(key(message))
            # Not inside of the try: who makes warnings errors gets this one.
            warn(message)

    return advise
