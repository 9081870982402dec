"""Estimates of operators from a few random directions, with their standard errors.

All samples of a batch share the directions, so that these need little memory, and the first
layer is applied to each direction only once.

References:
    Hutchinson, 1989, "A stochastic estimator of the trace of the influence matrix for Laplacian
    smoothing splines"; Hu, Shi, Karniadakis and Kawaguchi, 2024, "Hutchinson trace estimation
    for high-dimensional and high-order physics-informed neural networks"; Shi, Hu, Lin and
    Kawaguchi, 2024, "Stochastic Taylor derivative estimator" (random axes).
"""

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import boolean, shown, whole_number
from keras_smooth.differentiation import tasks
from keras_smooth.differentiation.coefficients import WeightedForm, weighted_sum
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.passes import Steps, along_directions
from keras_smooth.differentiation.results import result


@dataclasses.dataclass(frozen=True)
class Probes:
    """The number of random directions, and their seed.

    Args:
        number: The number of directions.
        seed: An integer or a `keras.random.SeedGenerator`.
    """

    number: int
    seed: Any

    def signs(self, dim: int, dtype: tf.DType) -> tf.Tensor:
        """Returns random directions of 1 and -1 (Rademacher); the mean of v v^T is the identity."""
        draws = keras.random.uniform((self.number, dim), dtype="float32", seed=self.seed)
        return tf.where(draws < 0.5, tf.constant(-1.0, dtype), tf.constant(1.0, dtype))

    def on_sphere(self, dim: int, dtype: tf.DType) -> tf.Tensor:
        """Returns random directions of length sqrt(dim), uniformly distributed."""
        draws = keras.random.normal((self.number, dim), dtype=dtype.name, seed=self.seed)
        return draws * dim**0.5 / tf.norm(draws, axis=1, keepdims=True)

    def places(self, number: int) -> tf.Tensor:
        """Returns distinct random integers below `number`."""
        return keras.random.shuffle(tf.range(number), seed=self.seed)[: self.number]


_LARGEST_SEED = 2**63 - 1


def checked_probes(probes: Any, seed: Any, verify: Any) -> Probes | None:
    """Returns the probes of an estimate, or None.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If `probes` is below 2, without a seed, or combined with `verify`.
    """
    verified = boolean("`verify`", verify)
    if probes is None:
        if seed is not None:
            raise ValueError(
                f"`seed` needs `probes`, which is None: received seed={shown(seed)}. "
                "Pass probes= as well, or no seed."
            )
        return None
    number = whole_number("`probes`", probes, 2)
    if verified:
        raise ValueError(
            "`verify` cannot be True with probes=: an estimate differs from the model's "
            "differences by its random directions. Its `standard_error` says by how much."
        )
    if isinstance(seed, keras.random.SeedGenerator):
        return Probes(number, seed)
    is_number = hasattr(seed, "__index__") and not isinstance(seed, bool)
    if is_number and abs(operator.index(seed)) <= _LARGEST_SEED:
        return Probes(number, operator.index(seed))
    kind = ValueError if is_number or seed is None else TypeError
    raise kind(
        "`seed` must be given with probes=: a whole number of at most 63 bits for the same "
        "directions in each call, as L-BFGS needs them, or a keras.random.SeedGenerator for "
        f"others in each call; received {shown(seed)}."
    )


def mean_along(
    evaluation: Evaluation, directions: tf.Tensor, order: int, factor: float = 1.0
) -> Any:
    """Returns the mean of the derivatives along random directions, with its standard error.

    Args:
        evaluation: An evaluation of any task for the same model and points.
        directions: Tensor of shape `(directions, numbers of a sample)`.
        order: The order of the derivatives.
        factor: A factor of the mean.

    Returns:
        A tensor, or the structure of y, each with an attribute `standard_error`.
    """
    _, *values = _result(evaluation, tasks.along_each(directions, order))
    return mean_of_values(values, factor)


def mean_of_values(values: Sequence, factor: float = 1.0) -> Any:
    """Returns the mean of random values, times a factor, with its standard error."""
    return _sum_with_error([_mean_and_variance(values, factor)])


def sum_of_forms(
    evaluation: Evaluation, weighted: Sequence[WeightedForm], probes: Probes
) -> Any:
    """Returns an estimate of a sum of forms from random directions of each order.

    Args:
        evaluation: An evaluation of any task for the same model and points.
        weighted: The forms, each with its factor.
        probes: The number of directions for each order, and the seed. An order that needs
            no more directions than that is computed exactly.
    """
    estimates = []
    for order in sorted({term.order for term in weighted}):
        of_order = [term for term in weighted if term.order == order]
        if order:
            values, number = _sampled_terms(evaluation, of_order, probes)
            estimates.append(_mean_and_variance(values, number, 1.0 - len(values) / number))
        else:
            forms, words = zip(*((term.form, term.word) for term in of_order))
            _, *values = _result(evaluation, tasks.forms(forms, words, 0))
            estimates.append(_mean_and_variance([weighted_sum(of_order, values)]))
    return _sum_with_error(estimates)


def _result(evaluation: Evaluation, task: tasks.Task) -> tuple:
    return result(dataclasses.replace(evaluation, task=task), False)


def _sampled_terms(
    evaluation: Evaluation, weighted: Sequence[WeightedForm], probes: Probes
) -> tuple[list, int]:
    """Returns random terms of a sum over the directions of one order, and how many it has.

    Each term is the contribution of one direction to the sum of all forms.
    """
    sums = along_directions([term.form for term in weighted])
    directions = list(dict.fromkeys(steps for terms in sums for steps in terms))
    number = len(directions)
    chosen = tf.range(number) if number <= probes.number else probes.places(number)
    weights = np.array([[terms.get(steps, 0.0) for terms in sums] for steps in directions])
    vectors = _direction_vectors(directions, chosen, sum(evaluation.points.dims))
    _, *values = _result(evaluation, tasks.along_each(vectors, weighted[0].order))

    def times(value: Any, weight: tf.Tensor) -> Any:
        return keras.tree.map_structure(lambda v: v * tf.cast(weight, v.dtype), value)

    rows = tf.unstack(tf.gather(tf.constant(weights), chosen), num=len(values))
    rows = [tf.unstack(row, num=len(weighted)) for row in rows]
    terms = [
        weighted_sum(weighted, [times(value, weight) for weight in row])
        for value, row in zip(values, rows)
    ]
    return terms, number


def _direction_vectors(
    directions: Sequence[Steps], chosen: tf.Tensor, dim: int
) -> tf.Tensor:
    """Returns the chosen directions, `(chosen, dim)`, without a dense array of all."""
    max_steps = max(map(len, directions))
    axes = np.zeros((len(directions), max_steps), np.int64)
    steps = np.zeros((len(directions), max_steps))
    for row, direction in enumerate(directions):
        axes[row, : len(direction)], steps[row, : len(direction)] = zip(*direction)
    axes, steps = (tf.gather(tf.constant(array), chosen) for array in (axes, steps))
    number = chosen.shape[0]
    rows = tf.repeat(tf.range(number, dtype=tf.int64)[:, None], max_steps, axis=1)
    return tf.scatter_nd(tf.stack([rows, axes], axis=-1), steps, (number, dim))


def _mean_and_variance(
    values: Sequence, factor: float = 1.0, fraction_left: float = 1.0
) -> tuple:
    """Returns the mean of structures, times a factor, and its variance.

    Args:
        values: One or more structures of tensors.
        factor: The factor of the mean.
        fraction_left: The fraction of all terms that was not drawn.
    """

    def mean(*leaves: tf.Tensor) -> tf.Tensor:
        return factor * tf.reduce_mean(tf.stack(leaves), axis=0)

    def variance(*leaves: tf.Tensor) -> tf.Tensor:
        stacked, number = tf.stack(leaves), len(leaves)
        squares = tf.square(stacked - tf.reduce_mean(stacked, axis=0))
        scale = fraction_left * factor**2 / (number * max(1, number - 1))
        return scale * tf.reduce_sum(squares, axis=0)

    return tuple(keras.tree.map_structure(reduce, *values) for reduce in (mean, variance))


def _sum_with_error(estimates: Sequence[tuple]) -> Any:
    """Returns the sum of independent estimates, with its standard error."""

    def estimate(*leaves: tf.Tensor) -> tf.Tensor:
        means, variances = leaves[::2], leaves[1::2]
        value = tf.add_n(means)
        value.standard_error = tf.sqrt(tf.add_n(variances))
        return value

    return keras.tree.map_structure(
        estimate, *(value for pair in estimates for value in pair)
    )
