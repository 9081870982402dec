"""Methods that compute residuals and their Jacobian: row by row, or entry by entry."""

import functools
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf


class DependsOnRowsError(Exception):
    """A row alone has another number of residuals than with the others."""


class Term(NamedTuple):
    """How a term of the residuals is differentiated.

    Args:
        method: A name of `JACOBIANS`.
        leaves: Indices of the tensors in the data that have one row for each row of the term.
        num_rows: Number of these rows; 0 if the term cannot be computed for fewer rows.
        num_entries: Number of residuals of a row.
    """

    method: str
    leaves: tuple[int, ...] = ()
    num_rows: int = 0
    num_entries: int = 1


def replace_leaves(data: tuple, leaves: Iterable[int], change: Callable) -> tuple:
    """Returns data with a function applied to the tensors with the indices `leaves`."""
    flat = keras.tree.flatten(data)
    for leaf in leaves:
        flat[leaf] = change(flat[leaf])
    return keras.tree.pack_sequence_as(data, flat)


def _rows_and_setter(data: tuple, leaves: Sequence[int]) -> tuple[list, Callable]:
    """Returns the tensors with the indices `leaves`, and a function that replaces each by a row."""
    flat = keras.tree.flatten(data)

    def with_row(row: list) -> tuple:
        new_leaves = iter(row)
        return replace_leaves(data, leaves, lambda leaf: next(new_leaves)[None])

    return [flat[leaf] for leaf in leaves], with_row


def _jacobian_by_rows(
    map_rows: Callable, function: Callable, data: tuple, sources: list, term: Term
) -> tuple:
    """Returns residuals that depend on one row each, and their Jacobian."""
    rows, with_row = _rows_and_setter(data, term.leaves)
    dtype = sources[0].dtype

    def linearize_row(row: list) -> tuple:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(sources)
            values = tf.cast(tf.reshape(function(with_row(row)), (-1,)), dtype)
        if values.shape[0] != term.num_entries:
            raise DependsOnRowsError
        by_entries = functools.partial(
            tape.jacobian, experimental_use_pfor=map_rows is _vectorized
        )
        # The gradient of a single entry is traced in less time.
        differentiate: Callable = tape.gradient if term.num_entries == 1 else by_entries
        jacobian = differentiate(values, sources, unconnected_gradients="zero")
        return values, _as_matrix(jacobian, sources)

    values, jacobian = map_rows(linearize_row, rows, dtype)
    return tf.reshape(values, (-1,)), tf.reshape(jacobian, (-1, jacobian.shape[-1]))


def _jacobian_by_entries(
    function: Callable, data: tuple, sources: list, term: Term
) -> tuple:
    """Returns residuals that may depend on several rows, and their Jacobian, entry by entry."""
    del term
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(sources)
        # TensorFlow's Jacobian needs one dtype for residuals and sources.
        residuals = tf.cast(tf.reshape(function(data), (-1,)), sources[0].dtype)
    # Without pfor, since all entries at once would need the memory of as many evaluations.
    jacobian = tape.jacobian(
        residuals, sources, unconnected_gradients="zero", experimental_use_pfor=False
    )
    return residuals, _as_matrix(jacobian, sources)


def _as_matrix(jacobian: list[tf.Tensor], sources: list) -> tf.Tensor:
    """Returns the Jacobian by several sources as one matrix, with one column for each weight."""
    sizes = [math.prod(source.shape) for source in sources]
    blocks = [tf.reshape(block, (-1, size)) for block, size in zip(jacobian, sizes)]
    return tf.concat(blocks, axis=1)


def _vectorized(function: Callable, rows: list, dtype: Any) -> tuple:
    """Maps a function over rows by `tf.vectorized_map`, without its log messages."""
    logger = tf.get_logger()

    def is_unrelated(record: logging.LogRecord) -> bool:
        return "parallel_for" not in record.pathname

    # TensorFlow logs which operations it cannot vectorize.
    logger.addFilter(is_unrelated)
    try:
        return tf.vectorized_map(function, rows, warn=False)
    finally:
        logger.removeFilter(is_unrelated)


def _one_after_another(function: Callable, rows: list, dtype: Any) -> tuple:
    # In two loops, so that TensorFlow leaves out the second one where only values are needed.
    return tuple(
        tf.map_fn(lambda row, i=i: function(row)[i], rows, fn_output_signature=dtype)
        for i in range(2)
    )


# Functions that map over rows, the fastest first.
ROW_MAPS: dict[str, Callable] = {"rows": _vectorized, "loop": _one_after_another}
# Functions that compute a Jacobian, by the name of the method.
JACOBIANS: dict[str, Callable] = {
    **{
        name: functools.partial(_jacobian_by_rows, map_rows)
        for name, map_rows in ROW_MAPS.items()
    },
    "entries": _jacobian_by_entries,
}
