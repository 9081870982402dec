"""What an objective squares, and its Jacobian: a reverse sweep for each row, all at once.

Most residuals belong to a row of the data each. Then the Jacobian costs as much as some gradients,
since each row is differentiated alone, and a sample of the rows has residuals of its own. Whether
it is so is tried: residuals of single rows are compared with those of all rows. Rows with a loop in
them, which TensorFlow cannot vectorize, are differentiated one after another. What is computed of
all rows together, such as an integral, is differentiated for each of its entries, which costs as
many evaluations.
"""

import contextlib
import functools
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

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


class Term(NamedTuple):
    """How a term of the residuals is differentiated.

    Args:
        way: A name of `JACOBIANS`.
        leaves: Places of the tensors in the data that have a row for each row of the term.
        num_rows: Number of these rows, 0 if the term has no other number of them.
    """

    way: str
    leaves: tuple[int, ...] = ()
    num_rows: int = 0


class Layout(NamedTuple):
    """What is known of the residuals of data of one form.

    Args:
        terms: How they are differentiated.
        most_rows: The largest number of rows of a sample, 0 if all rows have to be used.
    """

    terms: tuple[Term, ...]
    most_rows: int


class Residuals:
    """The residuals of an objective, whose sum of squares is the loss.

    Args:
        objective: With a loss that has residuals.
    """

    def __init__(self, objective: Objective):
        self._objective = objective
        # By the form of the data.
        self._layouts: dict[str, Layout] = {}
        # By place and way of a term.
        self._jacobians: dict[tuple[int, Term], Any] = {}

    def values(self, position: tf.Tensor, data: tuple) -> tf.Tensor:
        """Returns all residuals over the root of how many there are of a term, `(m,)`."""
        terms = self._objective.residuals(self._objective.unflatten(position), data)
        flat = [tf.reshape(_scaled(term), (-1,)) for term in terms]
        return tf.concat([tf.cast(term, position.dtype) for term in flat], axis=0)

    def linearized(
        self, position: tf.Tensor, data: tuple, terms: tuple[Term, ...]
    ) -> tuple:
        """Returns `values` and their Jacobian, of shapes `(m,)` and `(m, n)`.

        Args:
            position: Weights, `(n,)`.
            data: `(x, y, sample_weight)`, or a sample of their rows.
            terms: Those of the `layout` of the data.
        """
        blocks = [
            self._jacobian(place, term)(position, data) for place, term in enumerate(terms)
        ]
        return self.values(position, data), tf.concat(blocks, axis=0)

    def layout(self, data: tuple) -> Layout:
        """Returns what is known of data of a form that was examined."""
        return self._layouts[str(micro_batches.shapes_and_dtypes(data))]

    def draw(self, data: tuple, size: tf.Tensor, seed: tf.Tensor) -> tuple:
        """Returns random rows of the data, and their share of as many as there can be.

        Args:
            data: `(x, y, sample_weight)`.
            size: Number of rows of tensors that have more, `()`.
            seed: An integer, `()`.
        """
        terms, most_rows = self.layout(data)
        if not most_rows:
            return data, tf.constant(1.0)
        size = tf.minimum(size, most_rows)

        @functools.cache
        def rows(number: int) -> tf.Tensor:
            both = tf.stack([seed, number])
            return tf.random.experimental.stateless_shuffle(tf.range(number), both)[:size]

        leaves = {leaf for term in terms for leaf in term.leaves}
        sample = _changed(data, leaves, lambda t: tf.gather(t, rows(t.shape[0])))
        return sample, size / most_rows

    def examine(self, position: tf.Tensor, data: tuple) -> None:
        """Finds out how residuals are differentiated, and whether they make up the loss.

        Args:
            position: Any weights at which no residual is 0 for a special reason.
            data: `(x, y, sample_weight)`.

        Raises:
            ValueError: If the loss is not their sum of squares, or they are too many.
        """
        values = self._objective.residuals(self._objective.unflatten(position), data)
        self._check_loss(position, data, values)
        form = str(micro_batches.shapes_and_dtypes(data))
        if form not in self._layouts:
            terms = tuple(
                self._fastest(place, value, position, data)
                for place, value in enumerate(values)
            )
            self._layouts[form] = Layout(terms, _most_rows(position, values, terms))

    def _fastest(
        self, place: int, value: tf.Tensor, position: tf.Tensor, data: tuple
    ) -> Term:
        """Returns a term with the fastest way to differentiate it."""
        function = self._term(place, self._objective.unflatten(position))
        number = value.shape[0]
        leaves = _leaves_of(data, number)
        # Some code needs the number of rows that it was written for.
        forms = {number: _changed(data, leaves, _of_any_number), 0: data}
        for way in MAPS:
            # The user's code, or an operation that TensorFlow cannot vectorize, may raise anything.
            with contextlib.suppress(Exception):
                alone = _by_rows(MAPS[way], function, data, leaves, value.dtype)
                if not _is_close(alone, value):
                    break
                for num_rows, form in forms.items():
                    term = Term(way, leaves, num_rows)
                    with contextlib.suppress(Exception):
                        self._jacobian(place, term).get_concrete_function(position, form)
                        traced(function).get_concrete_function(form)
                        return term
        return Term("entries")

    def _jacobian(self, place: int, term: Term) -> Any:
        """Returns the Jacobian of a term as a traced function of position and data."""

        def jacobian(position: tf.Tensor, data: tuple) -> tf.Tensor:
            weights = self._objective.unflatten(position)
            function, sources = self._term(place, weights), self._objective.sources(weights)
            return JACOBIANS[term.way](function, data, sources, term.leaves)

        return self._jacobians.setdefault((place, term), traced(jacobian))

    def _term(self, place: int, weights: list[tf.Tensor]) -> Callable:
        return lambda data: self._objective.residuals(weights, data)[place]

    def _check_loss(self, position: tf.Tensor, data: tuple, values: list) -> None:
        loss, again = (float(self._objective.value(position, data)) for _ in range(2))
        squares = float(tf.reduce_sum(self.values(position, data) ** 2))
        tolerance = max(map(_rounding, [position, *values]))
        if not math.isfinite(loss) or math.isclose(loss, squares, rel_tol=tolerance):
            return
        if not math.isclose(loss, again, rel_tol=tolerance):
            words = f"The loss is {loss:.6g} at one call and {again:.6g} at the next. "
            raise ValueError(words + Status.RANDOM.message)
        raise ValueError(
            'method="gauss_newton" minimizes mean squares, but the loss of the model is '
            f"{loss:.6g} where the mean squared error is {squares:.6g}. It needs "
            'compile(loss="mse") without loss_weights, regularizers, add_loss and masks; for all '
            "else there are objectives that return residuals, or the other methods."
        )


def _most_rows(position: tf.Tensor, values: list, terms: Sequence[Term]) -> int:
    """Returns the largest number of rows of a sample, 0 if there are no samples.

    Raises:
        ValueError: If all rows have to be used, and are too many.
    """
    count, num_weights = sum(math.prod(value.shape) for value in values), len(position)
    num_bytes = num_weights * position.dtype.size
    limit = MOST_BYTES // num_bytes
    if num_weights > MOST_ROWS:
        limit = min(limit, MOST_ROWS)
    is_sampled = all(term.num_rows for term in terms)
    number = max(term.num_rows for term in terms)
    if count <= limit:
        return number if is_sampled else 0
    entries = sum(math.prod(value.shape[1:]) for value in values)
    if is_sampled and limit >= entries:
        return min(limit // entries, number)
    raise ValueError(
        f'method="gauss_newton" needs a Jacobian of {count} residuals by {num_weights} weights, '
        f"{count * num_bytes / 2**30:.1f} GiB, and a matrix of {min(count, num_weights)} rows. It "
        f"has at most {MOST_BYTES / 2**30:.0f} GiB and {MOST_ROWS} rows: use fewer rows or "
        'weights, or method="lbfgs".'
    )


def _scaled(term: tf.Tensor) -> tf.Tensor:
    """Returns residuals whose sum of squares is the mean square."""
    return term / tf.sqrt(tf.cast(tf.size(term), term.dtype))


def _leaves_of(data: tuple, num_rows: int) -> tuple[int, ...]:
    """Returns the places of the tensors that have a number of rows."""
    flat = enumerate(keras.tree.flatten(data))
    return tuple(i for i, t in flat if t is not None and t.shape[:1] == [num_rows])


def _changed(data: tuple, leaves: Iterable[int], change: Callable) -> tuple:
    """Returns data with a function applied to the tensors in some places."""
    flat = keras.tree.flatten(data)
    for leaf in leaves:
        flat[leaf] = change(flat[leaf])
    return keras.tree.pack_sequence_as(data, flat)


def _of_any_number(tensor: tf.Tensor) -> tf.TensorSpec:
    """Returns what stands for a tensor with another number of rows."""
    return tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)


def _rows_of(data: tuple, leaves: Sequence[int]) -> tuple[list, Callable]:
    """Returns the tensors in some places, and a function that puts a row of each there."""
    flat = keras.tree.flatten(data)

    def with_row(row: list) -> tuple:
        left = iter(row)
        return _changed(data, leaves, lambda leaf: next(left)[None])

    return [flat[leaf] for leaf in leaves], with_row


def _by_rows(
    over_rows: Callable, function: Callable, data: tuple, leaves: Sequence[int], dtype: Any
) -> tf.Tensor:
    """Returns residuals of each row computed alone."""
    rows, with_row = _rows_of(data, leaves)
    # In a graph, since TensorFlow counts what it vectorizes outside of one.
    return traced(lambda: over_rows(lambda row: function(with_row(row))[0], rows, dtype))()


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
    over_rows: Callable, function: Callable, data: tuple, sources: list, leaves: tuple
) -> tf.Tensor:
    """Returns the Jacobian of residuals that belong to a row each."""
    rows, with_row = _rows_of(data, leaves)

    def of_row(row: list) -> tf.Tensor:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(sources)
            entries = tf.unstack(tf.reshape(function(with_row(row)), (-1,)))
        return tf.stack([_flat(tape, entry, sources) for entry in entries])

    jacobian = over_rows(of_row, rows, sources[0].dtype)
    flat = tf.reshape(jacobian, (-1, jacobian.shape[-1]))
    return flat / tf.sqrt(tf.cast(tf.shape(flat)[0], flat.dtype))


def _of_entries(function: Any, data: tuple, sources: list, leaves: tuple) -> tf.Tensor:
    """Returns the Jacobian of any residuals, entry by entry."""
    del leaves
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(sources)
        residuals = tf.reshape(_scaled(function(data)), (-1,))
        # TensorFlow has no room for gradients in another dtype.
        residuals = tf.cast(residuals, sources[0].dtype)
    # One after another: all sweeps at once would need the memory of as many evaluations.
    jacobians = tape.jacobian(
        residuals, sources, unconnected_gradients="zero", experimental_use_pfor=False
    )
    size = residuals.shape[0]
    return tf.concat([tf.reshape(jacobian, (size, -1)) for jacobian in jacobians], axis=1)


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
