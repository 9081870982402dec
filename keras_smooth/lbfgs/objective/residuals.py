"""What an objective squares, and its Jacobian: a reverse sweep for each row, all at once.

Most residuals belong to a row of the data each. Then the Jacobian costs as much as some gradients,
since each row is differentiated alone. Whether it is so is tried: residuals of single rows are
compared with those of all rows. Rows with a loop in them, which TensorFlow cannot vectorize, are
differentiated one after another. What is computed of all rows together, such as an integral, is
differentiated for each of its entries, which costs as many evaluations.
"""

import functools
import logging
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.lbfgs.result import Status
from keras_smooth.models.tracing import traced

# Matrices of more rows take minutes an iteration, larger Jacobians do not fit beside the rest.
MOST_ROWS = 8192
MOST_BYTES = 2**31


class Residuals:
    """The residuals of an objective, whose sum of squares is the loss.

    Args:
        objective: With a loss that has residuals.
    """

    def __init__(self, objective: Objective):
        self._objective = objective
        # Of each form of data, how residuals are differentiated: a name of `JACOBIANS`.
        self._ways: dict[str, list[str]] = {}
        # By way and place of a term.
        self._jacobians: dict[tuple[str, int], Callable] = {}

    def values(self, position: tf.Tensor, data: tuple) -> tf.Tensor:
        """Returns all residuals over the root of how many there are of a term, `(m,)`."""
        terms = self._objective.residuals(self._objective.unflatten(position), data)
        flat = [tf.reshape(_scaled(term), (-1,)) for term in terms]
        return tf.concat([tf.cast(term, position.dtype) for term in flat], axis=0)

    def linearized(self, position: tf.Tensor, data: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `values` and their Jacobian, of shapes `(m,)` and `(m, n)`."""
        blocks = [
            self._jacobian(way, place)(position, data)
            for place, way in enumerate(self._ways[str(micro_batches.form(data))])
        ]
        return self.values(position, data), tf.concat(blocks, axis=0)

    def examine(self, position: tf.Tensor, data: tuple) -> None:
        """Finds out how residuals are differentiated, and whether they make up the loss.

        Args:
            position: Any weights at which no residual is 0 for a special reason.
            data: `(x, y, sample_weight)`.

        Raises:
            ValueError: If the loss is not their sum of squares, or they are too many.
        """
        terms = self._objective.residuals(self._objective.unflatten(position), data)
        self._check(position, data, terms)
        form = str(micro_batches.form(data))
        # What failed once is not tried again.
        known = self._ways.get(form) or [""] * len(terms)
        self._ways[form] = [
            self._way(place, position, data, term, known[place] or "rows")
            for place, term in enumerate(terms)
        ]

    def _way(
        self, place: int, position: tf.Tensor, data: tuple, term: tf.Tensor, first: str
    ) -> str:
        """Returns the fastest way to differentiate a term, from a first one on."""
        weights = self._objective.unflatten(position)
        function = functools.partial(self._term, place, weights)
        for way in list(MAPS)[list(JACOBIANS).index(first) :]:
            try:
                if not _is_close(_by_rows(MAPS[way], function, data, term), term):
                    break
                self._jacobian(way, place).get_concrete_function(position, data)
                return way
            # The user's code, or an operation that TensorFlow cannot vectorize, may raise anything.
            except Exception:
                continue
        return "entries"

    def _jacobian(self, way: str, place: int) -> Any:
        """Returns the Jacobian of a term as a traced function of position and data."""

        def jacobian(position: tf.Tensor, data: tuple) -> tf.Tensor:
            weights = self._objective.unflatten(position)
            function = functools.partial(self._term, place, weights)
            return JACOBIANS[way](function, data, self._objective.sources(weights))

        return self._jacobians.setdefault((way, place), traced(jacobian))

    def _term(self, place: int, weights: list[tf.Tensor], data: tuple) -> tf.Tensor:
        return self._objective.residuals(weights, data)[place]

    def _check(self, position: tf.Tensor, data: tuple, terms: list[tf.Tensor]) -> None:
        count, size = sum(math.prod(term.shape) for term in terms), len(position)
        num_bytes = count * size * position.dtype.size
        if min(count, size) > MOST_ROWS or num_bytes > MOST_BYTES:
            raise ValueError(
                f'method="gauss_newton" needs a Jacobian of {count} residuals by {size} weights, '
                f"{num_bytes / 2**30:.1f} GiB, and a matrix of {min(count, size)} rows. It has at "
                f"most {MOST_BYTES / 2**30:.0f} GiB and {MOST_ROWS} rows: use fewer rows or weights, "
                'or method="lbfgs".'
            )
        loss, again = (float(self._objective.value(position, data)) for _ in range(2))
        squares = float(tf.reduce_sum(self.values(position, data) ** 2))
        tolerance = max(map(_rounding, [position, *terms]))
        if not math.isfinite(loss) or math.isclose(loss, squares, rel_tol=tolerance):
            return
        if not math.isclose(loss, again, rel_tol=tolerance):
            raise ValueError(
                f"The loss is {loss:.6g} at one call and {again:.6g} at the next. "
                f"{Status.RANDOM.message}"
            )
        raise ValueError(
            'method="gauss_newton" minimizes mean squares, but the loss of the model is '
            f"{loss:.6g} where the mean squared error is {squares:.6g}. It needs "
            'compile(loss="mse") without loss_weights, regularizers, add_loss and masks; '
            "for all else there are objectives that return residuals, or the other methods."
        )


def _scaled(term: tf.Tensor) -> tf.Tensor:
    """Returns residuals whose sum of squares is the mean square."""
    return term / math.sqrt(math.prod(term.shape))


def _sliced(data: tuple, num_rows: int) -> tuple[list, Any]:
    """Returns the tensors of a number of rows, and a function that puts others in their place."""
    flat = keras.tree.flatten(data)
    places = [
        i
        for i, leaf in enumerate(flat)
        if leaf is not None and leaf.shape[:1] == [num_rows]
    ]

    def with_row(rows: list) -> tuple:
        given = dict(zip(places, rows))
        leaves = [given[i][None] if i in given else leaf for i, leaf in enumerate(flat)]
        return keras.tree.pack_sequence_as(data, leaves)

    return [flat[i] for i in places], with_row


def _by_rows(
    over_rows: Callable, function: Callable, data: tuple, whole: tf.Tensor
) -> tf.Tensor:
    """Returns residuals of each row computed alone."""
    leaves, with_row = _sliced(data, whole.shape[0])
    # In a graph, since TensorFlow counts what it vectorizes outside of one.
    return traced(
        lambda: over_rows(lambda row: function(with_row(row))[0], leaves, whole.dtype)
    )()


def _is_close(rows: tf.Tensor, whole: tf.Tensor) -> bool:
    """Returns whether residuals are the same up to rounding; what is not finite is."""
    tolerance, rows, whole = _rounding(whole), np.asarray(rows), np.asarray(whole)
    scale = np.max(np.abs(whole), initial=0.0, where=np.isfinite(whole))
    return rows.shape == whole.shape and np.allclose(
        rows, whole, rtol=tolerance, atol=tolerance * scale, equal_nan=True
    )


def _rounding(values: tf.Tensor) -> float:
    """Returns the relative difference below which values of a dtype are the same."""
    return math.sqrt(np.finfo(values.dtype.as_numpy_dtype).eps)


def _of_rows(
    over_rows: Callable, function: Callable, data: tuple, sources: list
) -> tf.Tensor:
    """Returns the Jacobian of residuals that belong to a row each."""
    whole = function(data)
    leaves, with_row = _sliced(data, whole.shape[0])

    def of_row(row: list) -> tf.Tensor:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(sources)
            entries = tf.unstack(tf.reshape(function(with_row(row)), (-1,)))
        return tf.stack([_flat(tape, entry, sources) for entry in entries])

    jacobian = over_rows(of_row, leaves, sources[0].dtype)
    flat = tf.reshape(jacobian, (-1, jacobian.shape[-1]))
    return flat / math.sqrt(math.prod(whole.shape))


def _of_entries(function: Any, data: tuple, sources: list) -> tf.Tensor:
    """Returns the Jacobian of any residuals, entry by entry."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(sources)
        residuals = tf.reshape(_scaled(function(data)), (-1,))
        # TensorFlow has no room for gradients in another dtype.
        residuals = tf.cast(residuals, sources[0].dtype)
    # One after another: all sweeps at once would need the memory of as many evaluations.
    parts = tape.jacobian(
        residuals, sources, unconnected_gradients="zero", experimental_use_pfor=False
    )
    size = residuals.shape[0]
    return tf.concat([tf.reshape(part, (size, -1)) for part in parts], axis=1)


def _flat(tape: tf.GradientTape, entry: tf.Tensor, sources: list) -> tf.Tensor:
    gradients = tape.gradient(entry, sources, unconnected_gradients="zero")
    return tf.concat([tf.reshape(gradient, (-1,)) for gradient in gradients], axis=0)


def _vectorized(function: Callable, rows: list, dtype: Any) -> tf.Tensor:
    logger = tf.get_logger()

    def is_other(record: logging.LogRecord) -> bool:
        return "parallel_for" not in record.pathname

    # TensorFlow would log what it cannot vectorize.
    logger.addFilter(is_other)
    try:
        return tf.vectorized_map(function, rows, warn=False)
    finally:
        logger.removeFilter(is_other)


def _one_after_another(function: Callable, rows: list, dtype: Any) -> tf.Tensor:
    return tf.map_fn(function, rows, fn_output_signature=dtype)


# How a function is called with each row, the fastest first.
MAPS: dict[str, Callable] = {"rows": _vectorized, "loop": _one_after_another}
JACOBIANS: dict[str, Callable] = {
    **{way: functools.partial(_of_rows, over_rows) for way, over_rows in MAPS.items()},
    "entries": _of_entries,
}
