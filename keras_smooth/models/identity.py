"""What tells whether a model computes the same as before, where that can be proven."""

import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, tf.DType)
# Whose code does not change: nothing else in it decides what a layer computes.
_KNOWN = ("keras", "keras_smooth", "tensorflow", "numpy", "builtins", "inspect")
# What Keras notes of calls that have been.
_NOTES = ("_called",)


class _Same:
    """An object by its identity, which another one at its address later has not."""

    def __init__(self, value: Any) -> None:
        self.get: Callable[[], Any]
        try:
            self.get = weakref.ref(value)
        except TypeError:
            self.get = lambda: value
        self.hash = id(value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Same):
            return False
        value = self.get()
        return value is not None and value is other.get()

    def __hash__(self) -> int:
        return self.hash


class _UnknownError(Exception):
    """Says that something may decide what a model computes of which nothing is known."""


def identity(model: Any) -> tuple | None:
    """Returns what decides the computation of a model, None if that cannot be known.

    A model of Keras' own layers and functions computes the same as long as all of their
    attributes are the same. Code of a user may read anything: of that nothing is known.
    Values of variables are no part of it.

    Args:
        model: Model, layer or function.

    Example:

    >>> import keras
    >>> from keras_smooth.models.identity import identity
    >>> layer = keras.layers.Dense(1, "tanh")
    >>> layer.build((None, 2))
    >>> before = identity(layer)
    >>> layer.activation = keras.activations.sigmoid
    >>> identity(layer) == before, identity(lambda x: x) is None
    (False, True)
    """
    if not isinstance(model, keras.layers.Layer):
        return None
    found: list = [keras.config.floatx(), keras.config.epsilon()]
    try:
        _collect(model, found, set())
    except _UnknownError:
        return None
    return tuple(found)


def _collect(value: Any, found: list, seen: set[int]) -> None:
    """Adds what identifies a value."""
    if isinstance(value, _PLAIN):
        found.append((type(value), value))
    elif isinstance(value, keras.Variable):
        if not hasattr(value.value, "assign"):
            # A scope has put a tensor in its place.
            raise _UnknownError
        found.append(_Same(value))
    elif isinstance(value, (list, tuple, set, frozenset)):
        found.append(len(value))
        for item in value:
            _collect(item, found, seen)
    elif isinstance(value, dict):
        found.append(len(value))
        for key, item in value.items():
            _collect(key, found, seen)
            _collect(item, found, seen)
    elif id(value) in seen:
        found.append(_Same(value))
    else:
        _collect_object(value, found, seen)


def _collect_object(value: Any, found: list, seen: set[int]) -> None:
    module = getattr(value, "__module__", None) or type(value).__module__
    if module.partition(".")[0] not in _KNOWN:
        raise _UnknownError
    if isinstance(value, np.ndarray) and value.size > 16:
        raise _UnknownError
    found.append(_Same(value))
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        found.append(value.tobytes())
    elif isinstance(value, keras.Operation):
        for name, attribute in vars(value).items():
            if name not in _NOTES:
                found.append(name)
                _collect(attribute, found, seen)
