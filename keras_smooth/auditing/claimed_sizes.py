"""The sizes that a model file claims, compared with the size of the file.

A config of a few bytes can define any number of weights, and a few bytes of an archive or of HDF5
can represent any number of zeros. The comparison is made before memory is allocated for them.
"""

import contextlib
import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import tensorflow as tf

from keras_smooth.models import graph, sample_inputs

_WEIGHTS = "model.weights.h5"
# Compression makes text less than a hundred times smaller, and weights hardly smaller.
_MAX_COMPRESSION = 100
# A layer may compute weights that are not in the file. Sizes below `_SMALL` are always allowed.
_MAX_COMPUTED = 4
_SMALL = 2**26
# The largest number of entries of one tensor: 2 GiB in float64.
_MAX_NUMBERS = 2**28


def bytes_of_weights(path: Path) -> int:
    """Returns the number of bytes of weights in a model file.

    Raises:
        ValueError: If the archive, or the weights in it, claim more bytes than the file can
            hold; the message is one clause.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            _check_claim(
                member.filename, member.file_size, _MAX_COMPRESSION * member.compress_size
            )
        if _WEIGHTS not in archive.namelist():
            return path.stat().st_size
        sizes: list[int] = []
        with archive.open(_WEIGHTS) as content, h5py.File(content, "r") as weights:
            weights.visititems(lambda name, member: sizes.append(_bytes_of(member)))
        _check_claim(_WEIGHTS, sum(sizes), archive.getinfo(_WEIGHTS).file_size)
    return sum(sizes)


def _check_claim(name: str, claimed: int, most: int) -> None:
    if claimed > _SMALL + most:
        raise ValueError(
            f"its {name} claims {claimed:,} bytes, more than the {_SMALL + most:,} that the file "
            "can hold"
        )


def _bytes_of(member: Any) -> int:
    is_data = isinstance(member, h5py.Dataset)
    return int(member.size or 0) * member.dtype.itemsize if is_data else 0


@contextlib.contextmanager
def limited_to(size: int) -> Iterator[None]:
    """Limits the bytes of the variables that are created, in proportion to those in a file.

    Args:
        size: Bytes of weights in the file.

    Raises:
        ValueError: If the limit is exceeded, before the variable is created.
    """
    claimed, refused = 0, None

    def create(next_creator: Callable, **kwargs: Any) -> Any:
        nonlocal claimed, refused
        claimed += _bytes_of_variable(**kwargs)
        try:
            _check_claim("config", claimed, _MAX_COMPUTED * size)
        except ValueError as error:
            refused = error
            raise
        return next_creator(**kwargs)

    try:
        with tf.variable_creator_scope(create):
            yield
    finally:
        # Keras wraps this error, or ignores it and leaves the layer unbuilt.
        if refused:
            raise refused from None


def _bytes_of_variable(initial_value: Any = None, dtype: Any = None, **_: Any) -> int:
    """Returns the bytes of a variable, from a symbolic initial value, which needs no memory."""
    try:
        with tf.Graph().as_default():
            value = initial_value() if callable(initial_value) else initial_value
            dtype = tf.as_dtype(value.dtype if dtype is None else dtype)
            return math.prod(value.shape) * dtype.size
    # An initializer of a user may fail on symbols.
    except Exception:
        return 0


def check_tensors(model: keras.Model) -> None:
    """Checks that the outputs of all layers, for a few samples, are not too large.

    Raises:
        ValueError: If a tensor has too many entries; the message is one clause.
    """
    for path, layer in graph.unique(model):
        for tensor in keras.tree.flatten(_outputs(layer)):
            numbers = sample_inputs.SAMPLES * math.prod(tensor.shape[1:])
            if numbers > _MAX_NUMBERS:
                raise ValueError(
                    f"{path} makes {numbers:,} numbers of {sample_inputs.SAMPLES} samples, "
                    f"and {_MAX_NUMBERS:,} is the most that is looked at"
                )


def _outputs(layer: keras.Operation) -> Any:
    """Returns the symbolic outputs of known shape of a layer, or [] if it has no outputs."""
    try:
        return [t for t in keras.tree.flatten(layer.output) if None not in t.shape[1:]]
    except (AttributeError, ValueError):
        return []
