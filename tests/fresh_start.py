"""What each test begins with, in any order: the same seeds, and warnings not yet given."""

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
    """Starts of layers without a seed, and what a process says once, are the test's own."""
    set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warn, "_given", weakref.WeakKeyDictionary())
        yield


def set_random_seed(seed: int) -> None:
    """Does what `keras.utils.set_random_seed` does.

    A seed of TensorFlow has it forget all kernels, and the next eager call of each operation
    takes some 30 times as long. It is set only if it is another one or if something was drawn
    since. What tells is TensorFlow's own generator of seeds of operations, which is private.
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
    # There is none before the first seed.
    generator = getattr(context.context(), "_rng", None)
    return generator and generator.getstate()
