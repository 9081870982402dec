"""What an objective squares, and its Jacobian: a reverse sweep for each row, all at once.

Most residuals belong to a row of the data each. Then the Jacobian costs as much as some gradients,
since each row is differentiated alone. Whether it is so is tried: residuals of single rows are
compared with those of all rows. What is computed of all rows together, such as an integral, is
differentiated for each of its entries, which costs as many evaluations.
"""

import functools
import math
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.objective.objective import Objective

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
        # Of each form of data, which residuals belong to a row each.
        self._by_rows: dict[str, list[bool]] = {}

    def values(self, position: tf.Tensor, data: tuple) -> tf.Tensor:
        """Returns all residuals over the root of how many there are of a term, `(m,)`."""
        terms = self._objective.residuals(self._objective.unflatten(position), data)
        return tf.concat([tf.reshape(_scaled(term), (-1,)) for term in terms], axis=0)

    def linearized(self, position: tf.Tensor, data: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `values` and their Jacobian, of shapes `(m,)` and `(m, n)`."""
        weights = self._objective.unflatten(position)
        blocks = []
        for place, by_rows in enumerate(self._by_rows[_form(data)]):
            term = functools.partial(self._term, weights, place)
            differentiate = _of_rows if by_rows else _of_entries
            blocks.append(differentiate(term, data, self._objective.sources(weights)))
        return self.values(position, data), tf.concat(blocks, axis=0)

    def examine(self, position: tf.Tensor, data: tuple) -> None:
        """Finds out which residuals belong to a row each, and whether they make up the loss.

        Args:
            position: Any weights at which no residual is 0 for a special reason.
            data: `(x, y, sample_weight)`.

        Raises:
            ValueError: If the loss is not their sum of squares, or they are too many.
        """
        weights = self._objective.unflatten(position)
        terms = self._objective.residuals(weights, data)
        self._check(position, data, terms)
        self._by_rows[_form(data)] = [
            _is_by_rows(functools.partial(self._term, weights, place), data, term)
            for place, term in enumerate(terms)
        ]

    def _term(self, weights: list[tf.Tensor], place: int, data: tuple) -> tf.Tensor:
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
        loss = float(self._objective.value(position, data))
        squares = float(tf.reduce_sum(self.values(position, data) ** 2))
        tolerance = math.sqrt(np.finfo(position.dtype.as_numpy_dtype).eps)
        if math.isfinite(loss) and not math.isclose(loss, squares, rel_tol=tolerance):
            raise ValueError(
                'method="gauss_newton" minimizes mean squares, but the loss of the model is '
                f"{loss:.6g} where the mean squared error is {squares:.6g}. It needs "
                'compile(loss="mse") without loss_weights, regularizers, add_loss and masks; '
                "for all else there are objectives that return residuals, or the other methods."
            )


def _scaled(term: tf.Tensor) -> tf.Tensor:
    """Returns residuals whose sum of squares is the mean square."""
    return term / math.sqrt(math.prod(term.shape))


def _form(data: tuple) -> str:
    """Returns what tells the shapes of data apart."""
    return str(micro_batches.map_tensors(lambda leaf: tuple(leaf.shape), data))


def _sliced(data: tuple, num_rows: int) -> tuple[list, Any]:
    """Returns the tensors of a number of rows, and a function that puts others in their place."""
    leaves: list[tf.Tensor] = []

    def collect(leaf: tf.Tensor) -> None:
        if leaf.shape.rank and leaf.shape[0] == num_rows:
            leaves.append(leaf)

    micro_batches.map_tensors(collect, data)

    def with_row(rows: list) -> tuple:
        left = iter(rows)

        def place(leaf: tf.Tensor) -> tf.Tensor:
            is_sliced = leaf.shape.rank and leaf.shape[0] == num_rows
            return next(left)[None] if is_sliced else leaf

        return micro_batches.map_tensors(place, data)

    return leaves, with_row


def _is_by_rows(function: Any, data: tuple, whole: tf.Tensor) -> bool:
    """Returns whether residuals are the same if each row is computed alone."""
    leaves, with_row = _sliced(data, whole.shape[0])
    if not leaves:
        return False
    try:
        rows = tf.vectorized_map(lambda row: function(with_row(row))[0], leaves)
    # The user's code, or an operation that TensorFlow cannot vectorize, may raise anything.
    except Exception:
        return False
    tolerance = math.sqrt(np.finfo(whole.dtype.as_numpy_dtype).eps)
    scale = float(tf.reduce_max(tf.abs(whole)))
    return rows.shape == whole.shape and np.allclose(
        rows, whole, rtol=tolerance, atol=tolerance * scale
    )


def _of_rows(function: Any, data: tuple, sources: list) -> tf.Tensor:
    """Returns the Jacobian of residuals that belong to a row each."""
    whole = function(data)
    leaves, with_row = _sliced(data, whole.shape[0])

    def of_row(row: list) -> tf.Tensor:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(sources)
            entries = tf.unstack(tf.reshape(function(with_row(row)), (-1,)))
        return tf.stack([_flat(tape, entry, sources) for entry in entries])

    jacobian = tf.vectorized_map(of_row, leaves)
    flat = tf.reshape(jacobian, (-1, jacobian.shape[-1]))
    return flat / math.sqrt(math.prod(whole.shape))


def _of_entries(function: Any, data: tuple, sources: list) -> tf.Tensor:
    """Returns the Jacobian of any residuals, entry by entry."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(sources)
        residuals = tf.reshape(_scaled(function(data)), (-1,))
    # One after another: all sweeps at once would need the memory of as many evaluations.
    parts = tape.jacobian(
        residuals, sources, unconnected_gradients="zero", experimental_use_pfor=False
    )
    size = residuals.shape[0]
    return tf.concat([tf.reshape(part, (size, -1)) for part in parts], axis=1)


def _flat(tape: tf.GradientTape, entry: tf.Tensor, sources: list) -> tf.Tensor:
    gradients = tape.gradient(entry, sources, unconnected_gradients="zero")
    return tf.concat([tf.reshape(gradient, (-1,)) for gradient in gradients], axis=0)
