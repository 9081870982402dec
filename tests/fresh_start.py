"""The state at the beginning of each test: the same seeds, and no warning given yet."""

import contextlib
import weakref
from collections.abc import Iterator

import keras
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from keras_smooth.presentation import warn

# The seed, and the state of TensorFlow's own generator right after.
_last: tuple = (None, None)


@contextlib.contextmanager
def fresh_start() -> Iterator[None]:
    """Resets the random seeds, and the warnings that are given once for each process."""
    set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warn, "_given", weakref.WeakKeyDictionary())
        yield


def set_random_seed(seed: int) -> None:
    """Does what `keras.utils.set_random_seed` does.

    Setting a seed clears TensorFlow's cache of kernels, so that the next eager call of each
    operation takes some 30 times as long. The seed is set only if it differs or if numbers were
    drawn since, which TensorFlow's private generator of seeds of operations shows.
    """
    global _last
    if _last == (seed, _state()):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tf.random, "set_seed", lambda seed: None)
            keras.utils.set_random_seed(seed)
    else:
        keras.utils.set_random_seed(seed)
        _last = (seed, _state())


def _state() -> tuple | None:
    # There is no generator before the first seed.
    generator = getattr(context.context(), "_rng", None)
    return generator and generator.getstate()
