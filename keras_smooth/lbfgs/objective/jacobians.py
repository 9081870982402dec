"""Methods that compute residuals and their Jacobian: row by row, or entry by entry."""

import functools
import logging
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import tensorflow as tf


class DependsOnRowsError(Exception):
    """A row alone has another number of residuals than with the others."""


class Term(NamedTuple):
    """How a term of the residuals is differentiated.

    Args:
        method: A name of `ROW_MAPS`, or "entries".
        leaves: Indices of the tensors in the data that have one row for each row of the term.
        num_rows: Number of these rows; 0 if the term cannot be computed for fewer rows.
        num_entries: Number of residuals of a row; 0 if it is any number.
    """

    method: str
    leaves: tuple[int, ...] = ()
    num_rows: int = 0
    num_entries: int = 0


def replace_leaves(data: tuple, leaves: Iterable[int], change: Callable) -> tuple:
    """Returns data with a function applied to the tensors with the indices `leaves`."""
    flat = keras.tree.flatten(data)
    for leaf in leaves:
        flat[leaf] = change(flat[leaf])
    return keras.tree.pack_sequence_as(data, flat)


def linearize(function: Callable, data: tuple, sources: list, term: Term) -> tuple:
    """Returns the residuals of a term and their Jacobian, by the method of the term.

    Args:
        function: A function of data that returns the residuals.
        data: `(x, y, sample_weight)`.
        sources: The tensors or variables by which the residuals are differentiated.
        term: The term.

    Raises:
        DependsOnRowsError: If a row alone has another number of residuals.
    """
    if term.method == "entries":
        return _linearize(function, data, sources, term)

    def linearize_row(row: list) -> tuple:
        leaves = iter(row)
        data_of_row = replace_leaves(data, term.leaves, lambda _: next(leaves)[None])
        return _linearize(function, data_of_row, sources, term)

    flat = keras.tree.flatten(data)
    rows = [flat[leaf] for leaf in term.leaves]
    values, jacobian = ROW_MAPS[term.method](linearize_row, rows, sources[0].dtype)
    return tf.reshape(values, (-1,)), tf.reshape(jacobian, (-1, jacobian.shape[-1]))


def _linearize(function: Callable, data: tuple, sources: list, term: Term) -> tuple:
    """Returns the residuals of all rows or of a single one, and their Jacobian as one matrix."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(sources)
        # TensorFlow's Jacobian needs one dtype for residuals and sources.
        values = tf.cast(tf.reshape(function(data), (-1,)), sources[0].dtype)
    if term.num_entries not in (0, values.shape[0]):
        raise DependsOnRowsError
    # Of all rows without pfor, since all entries at once would need the memory of as many
    # evaluations.
    use_pfor = term.method == "rows"
    by_entries = functools.partial(tape.jacobian, experimental_use_pfor=use_pfor)
    # The gradient of a single entry is traced in less time.
    differentiate: Callable = tape.gradient if values.shape == [1] else by_entries
    jacobian = differentiate(values, sources, unconnected_gradients="zero")
    sizes = [math.prod(source.shape) for source in sources]
    blocks = [tf.reshape(block, (-1, size)) for block, size in zip(jacobian, sizes)]
    return values, tf.concat(blocks, axis=1)


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
