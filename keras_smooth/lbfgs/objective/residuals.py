"""The residuals of an objective and their Jacobian.

Usually, each residual depends on one row of the data. Then the rows are differentiated separately
by a vectorized map, so that the Jacobian costs as much as a few gradients, and the residuals of a
sample of the rows can be computed alone. To find out, residuals computed row by row, and those of
two samples, are compared with those of all rows. If TensorFlow cannot vectorize the computation of
a row, such as a loop, the rows are differentiated one after another. Residuals of several rows,
such as an integral, are differentiated entry by entry, which costs as much as an evaluation for
each entry.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.objective.jacobians import (
    ROW_MAPS,
    DependsOnRowsError,
    Term,
    linearize,
    replace_leaves,
)
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.lbfgs.result import Status
from keras_smooth.models.tracing import traced

# With matrices of more rows, an iteration takes minutes. Larger Jacobians do not fit into memory.
MAX_ROWS = 8192
MAX_BYTES = 2**31
# Size of a Jacobian in a first evaluation by rows.
BLOCK_BYTES = 2**27
# Two samples. Each row, but a single one, is missing in one of them, or has another place.
SAMPLES: tuple[Callable, ...] = (
    lambda rows: rows[: (len(rows) + 1) // 2],
    lambda rows: rows[len(rows) // 2 :][::-1],
)


class Layout(NamedTuple):
    """The terms of the residuals, for data of given shapes and dtypes.

    Args:
        terms: How each term is differentiated.
        most_rows: The largest number of rows of a sample; 0 if all rows have to be used.
    """

    terms: tuple[Term, ...]
    most_rows: int


class Residuals:
    """The residuals of an objective; the sum of their squares is the loss.

    Args:
        objective: Objective whose loss has residuals.
        evaluate: The trace of its loss and gradient that the minimizer uses.
    """

    def __init__(self, objective: Objective, evaluate: Callable):
        self._objective, self._evaluate = objective, evaluate
        # Each trace of an objective with derivatives takes up to a second.
        self._terms = traced(self._compute_terms)
        # The keys are shapes and dtypes of the data.
        self._layouts: dict[str, Layout] = {}
        # The keys are the indices of terms and how they are differentiated.
        self._jacobians: dict[tuple[int, Term], Any] = {}

    def values(self, position: tf.Tensor, data: tuple) -> tf.Tensor:
        """Returns the residuals of all terms, each divided by the root of its size, `(m,)`."""
        return self._flatten(self._terms(position, data))

    def _flatten(self, terms: list[tf.Tensor]) -> tf.Tensor:
        """Returns `values` of terms."""
        scaled = [_scale_to_mean_square(term, tf.size(term)) for term in terms]
        return tf.concat(
            [tf.cast(tf.reshape(t, (-1,)), self._objective.dtype) for t in scaled], axis=0
        )

    def linearized(
        self, position: tf.Tensor, data: tuple, terms: tuple[Term, ...]
    ) -> tuple:
        """Returns `values` and their Jacobian, of shapes `(m,)` and `(m, n)`.

        Args:
            position: Weights, `(n,)`.
            data: `(x, y, sample_weight)`, or a sample of their rows.
            terms: The terms of the `layout` of the data.
        """
        pairs = [
            self._jacobian(index, term)(position, data) for index, term in enumerate(terms)
        ]
        return tuple(
            tf.concat([_scale_to_mean_square(v, tf.shape(v)[0]) for v in blocks], axis=0)
            for blocks in zip(*pairs)
        )

    def layout(self, data: tuple) -> Layout:
        """Returns the layout of data whose shapes and dtypes were examined."""
        return self._layouts[str(micro_batches.shapes_and_dtypes(data))]

    def draw(self, data: tuple, size: tf.Tensor, seed: tf.Tensor) -> tuple:
        """Returns random rows of the data, and their fraction of the largest possible sample.

        Args:
            data: `(x, y, sample_weight)`.
            size: Number of rows, `()`; a tensor with fewer rows keeps all.
            seed: An integer, `()`.
        """
        terms, most_rows = self.layout(data)
        if not most_rows:
            return data, tf.constant(1.0)
        size = tf.minimum(size, most_rows)

        @functools.cache
        def rows(num_rows: int) -> tf.Tensor:
            shuffle_seed = tf.stack([seed, num_rows])
            return tf.random.experimental.stateless_shuffle(
                tf.range(num_rows), shuffle_seed
            )[:size]

        leaves = {leaf for term in terms for leaf in term.leaves}
        sample = replace_leaves(data, leaves, lambda t: tf.gather(t, rows(t.shape[0])))
        return sample, size / most_rows

    def examine(self, position: tf.Tensor, data: tuple) -> None:
        """Finds out how residuals are differentiated, and whether the loss is their sum of squares.

        Args:
            position: Weights at which no residual is 0 by initialization; see `perturbed`.
            data: `(x, y, sample_weight)`.

        Raises:
            ValueError: If the loss is not the sum of squares, or there are too many residuals.
        """
        # Not in a graph, where losses of a model have no values to check.
        values = self._compute_terms(position, data)
        self._check_loss(position, data, values)
        form = str(micro_batches.shapes_and_dtypes(data))
        if form not in self._layouts:
            fits = _num_entries(values) <= _max_entries(position)
            whole = [data] if fits else []
            leaves = {
                i for value in values for i in _leaves_with_rows(data, value.shape[0])
            }
            sample = replace_leaves(data, leaves, micro_batches.with_any_rows)
            terms = self._choose_methods(values, position, data, [sample, *whole])
            is_sampled = all(term.num_rows for term in terms)
            if is_sampled and not self._agrees_on_samples(leaves, values, position, data):
                terms = self._choose_methods(values, position, data, whole)
            self._layouts[form] = Layout(terms, _most_rows(position, values, terms))

    def _choose_methods(
        self, values: list[tf.Tensor], position: tf.Tensor, data: tuple, forms: list
    ) -> tuple[Term, ...]:
        """Returns terms with the fastest methods to differentiate them.

        Args:
            values: Residuals of the terms.
            position: Weights.
            data: `(x, y, sample_weight)`.
            forms: Forms of the data to try: with any number of rows, and `data` itself, since some
                code works for one number of rows only.
        """

        def choose(index: int, value: tf.Tensor) -> Term:
            leaves = _leaves_with_rows(data, value.shape[0])
            num_entries = math.prod(value.shape[1:])
            for method, form in itertools.product(ROW_MAPS, forms):
                num_rows = 0 if form is data else value.shape[0]
                term = Term(method, leaves, num_rows, num_entries)
                try:
                    self._terms.get_concrete_function(position, form)
                    self._jacobian(index, term).get_concrete_function(position, form)
                    by_rows = self._values_by_rows(index, term, position, data)
                except DependsOnRowsError:
                    break
                # The user's code, and operations that cannot be vectorized, can raise any error.
                except Exception:
                    continue
                if not _is_close(by_rows, value):
                    break
                return term
            return Term("entries")

        return tuple(itertools.starmap(choose, enumerate(values)))

    def _agrees_on_samples(
        self, leaves: Iterable[int], values: list, position: tf.Tensor, data: tuple
    ) -> bool:
        """Returns whether no term reads rows of another one, which a sample does not have."""
        try:
            for rows_of in SAMPLES:
                sample = self._terms(position, replace_leaves(data, leaves, rows_of))
                pairs = [
                    (np.ravel(few), rows_of(rows)) for few, rows in zip(sample, values)
                ]
                if not all(itertools.starmap(_is_close, pairs)):
                    return False
        # A row that is not there can lead to any error.
        except Exception:
            return False
        return True

    def _values_by_rows(
        self, index: int, term: Term, position: tf.Tensor, data: tuple
    ) -> np.ndarray:
        """Returns residuals as `linearized` computes them.

        TensorFlow leaves out the Jacobian, unless the residuals have side effects.
        """
        jacobian = self._jacobian(index, term)
        values = traced(lambda position, rows: jacobian(position, rows)[0])
        size = max(1, BLOCK_BYTES // (len(position) * position.dtype.size))
        blocks = [
            replace_leaves(data, term.leaves, lambda leaf, i=start: leaf[i : i + size])
            for start in range(0, term.num_rows, size)
        ]
        return np.concatenate([values(position, block) for block in blocks or [data]])

    def _jacobian(self, index: int, term: Term) -> Any:
        """Returns a traced function of position and data: the residuals of a term, and Jacobian."""

        def jacobian(position: tf.Tensor, data: tuple) -> tuple:
            weights = self._objective.unflatten(position)
            sources = self._objective.sources(weights)
            return linearize(
                lambda rows: self._objective.residuals(weights, rows)[index],
                data, sources, term,
            )  # fmt: skip

        return self._jacobians.setdefault((index, term), traced(jacobian))

    def _compute_terms(self, position: tf.Tensor, data: tuple) -> list[tf.Tensor]:
        return self._objective.residuals(self._objective.unflatten(position), data)

    def _check_loss(self, position: tf.Tensor, data: tuple, values: list) -> None:
        """Raises an error if the loss is not the sum of squares of the residuals."""
        loss = float(self._evaluate(position, data)[0])
        sum_of_squares = float(tf.reduce_sum(self._flatten(values) ** 2))
        tolerance = _rounding_tolerance([tensor.numpy() for tensor in (position, *values)])
        if not math.isfinite(loss) or math.isclose(loss, sum_of_squares, rel_tol=tolerance):
            return
        first, second = (float(self._objective.value(position, data)) for _ in range(2))
        if not math.isclose(first, second, rel_tol=tolerance):
            message = f"The loss is {first:.6g} at one call and {second:.6g} at the next. "
            raise ValueError(message + Status.RANDOM.message)
        raise ValueError(
            'method="gauss_newton" minimizes mean squares, but the loss of the model is '
            f"{loss:.6g} where the mean squared error is {sum_of_squares:.6g}. It needs "
            'compile(loss="mse") without loss_weights, regularizers, add_loss and masks; for all '
            "else there are objectives that return residuals, or the other methods."
        )


def _num_entries(values: list) -> int:
    """Returns the number of residuals of all terms."""
    return sum(math.prod(value.shape) for value in values)


def _max_entries(position: tf.Tensor) -> int:
    """Returns the largest number of residuals of a sample."""
    limit = MAX_BYTES // (len(position) * position.dtype.size)
    return min(limit, MAX_ROWS) if len(position) > MAX_ROWS else limit


def _most_rows(position: tf.Tensor, values: list, terms: Sequence[Term]) -> int:
    """Returns the largest number of rows of a sample; 0 if all rows have to be used.

    Raises:
        ValueError: If all rows have to be used, and there are too many.
    """
    count, num_weights, limit = _num_entries(values), len(position), _max_entries(position)
    sizes = [term.num_rows for term in terms]
    num_rows = max(sizes) if all(sizes) else 0
    if count <= limit:
        return num_rows
    entries = sum(math.prod(value.shape[1:]) for value in values)
    if num_rows and limit >= entries:
        return min(limit // entries, num_rows)
    num_bytes = num_weights * position.dtype.size
    raise ValueError(
        f'method="gauss_newton" needs a Jacobian of {count} residuals by {num_weights} weights, '
        f"{count * num_bytes / 2**30:.1f} GiB, and a matrix of {min(count, num_weights)} rows. It "
        f"has at most {MAX_BYTES / 2**30:.0f} GiB and {MAX_ROWS} rows: use fewer rows or "
        'weights, or method="lbfgs".'
    )


def _scale_to_mean_square(values: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns residuals, or their Jacobian, so that the sum of their squares is the mean square."""
    return values / tf.sqrt(tf.cast(size, values.dtype))


def _leaves_with_rows(data: tuple, num_rows: int) -> tuple[int, ...]:
    """Returns the indices of the tensors with `num_rows` rows."""
    flat = enumerate(keras.tree.flatten(data))
    return tuple(i for i, t in flat if t is not None and t.shape[:1] == [num_rows])


def _is_close(rows: np.ndarray, whole: tf.Tensor) -> bool:
    """Returns whether residuals are equal up to rounding; NaN equals NaN."""
    tolerance, whole = _rounding_tolerance([rows, whole.numpy()]), np.ravel(whole)
    scale = np.max(np.abs(whole), initial=0.0, where=np.isfinite(whole))
    return rows.shape == whole.shape and np.allclose(
        rows, whole, rtol=tolerance, atol=tolerance * scale, equal_nan=True
    )


def _rounding_tolerance(arrays: list) -> float:
    """Returns the relative difference below which values of some dtypes count as equal."""
    return math.sqrt(max(np.finfo(array.dtype).eps for array in arrays))
