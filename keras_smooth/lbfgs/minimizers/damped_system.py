"""The linear equation of a damped Gauss-Newton step, with corrections by the same matrix."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.quasi_newton import select
from keras_smooth.models.agreement import EPSILON

# The first damping, as a fraction of the trace of J'J, and the factor from one damping to the next.
FIRST_DAMPING = 1e-3
DAMPING_FACTOR = 10.0
# Largest number of corrections with one matrix. On the default network of `compare`, 4 need twice
# as many iterations as 12, and 40 need as many as 12.
MAX_CORRECTIONS = 12
# Another correction, or less damping, is worth its cost if it multiplies the sum of squares by
# less than this factor.
WORTHWHILE_RATIO = 0.9
# Below this damping, as a fraction of the trace of J'J times the precision, the rounding of J'J
# changes the step.
MIN_PLAIN_DAMPING = 100.0

# A matrix times its transpose is computed by halves. With three halvings, 9 of 16 products of two
# rows are computed. More halvings take longer than they save.
NUM_HALVINGS = 3


class Corrections(NamedTuple):
    """The state of the corrections of a step with one matrix.

    Args:
        count: Number of corrections.
        unknown: The latest solution of the system.
        residuals: Residuals after the latest step.
        step: The step with the lowest sum of squares.
        value: The lowest sum of squares.
        continues: Whether another correction is worth it.
    """

    count: tf.Tensor
    unknown: tf.Tensor
    residuals: tf.Tensor
    step: tf.Tensor
    value: tf.Tensor
    continues: tf.Tensor


class DampedSystem:
    """The equation of a damped step: the normal equation, or its dual if that is smaller.

    With A = J' and b = J' r, or with A = J and b = r in the dual, the equation is
    (A A' + damping I) u = b. The step is -u, or -J' u in the dual. Rounding of A A' hides singular
    values of A that are smaller than the largest one times the root of the precision. If the
    damping is so small that they count, the equation is solved for w = L' u, where
    L L' = A A' + shift I:

        (B B' + damping L^-1 L^-T) w = L^-1 b,    B = L^-1 A

    B is computed from A, not from A A'. Otherwise L is the identity.

    Args:
        residuals: Residuals at the position, `(m,)`.
        jacobian: Jacobian at the position, `(m, n)`.
        damping: Damping of the previous step, 0 if there is none.

    Attributes:
        first_damping: The damping to try first.
        smallest_damping: The smallest damping to try. For u, it is so small that the next system
            is solved for w. For w, rounding changes the solution with a smaller one.
        largest_damping: With a larger one, the step is lost in rounding at the next position.

    References:
        Fukaya, Kannan, Nakatsukasa, Yamamoto and Yanagisawa, 2020, "Shifted Cholesky QR for
        computing the QR factorization of ill-conditioned matrices", SIAM Journal on Scientific
        Computing 42, which is this choice of B.
    """

    def __init__(self, residuals: tf.Tensor, jacobian: tf.Tensor, damping: tf.Tensor):
        self._residuals, self._num_weights = residuals, jacobian.shape[1]
        num_residuals = jacobian.shape[0]
        if num_residuals is None:
            num_residuals = tf.shape(jacobian)[0]
        self._is_dual = num_residuals <= self._num_weights
        matrix = _call_one(self._is_dual, lambda: jacobian, lambda: tf.transpose(jacobian))
        gram = _gram(matrix)
        trace = tf.linalg.trace(gram)
        # TensorFlow raises an error if it decomposes a matrix that is zero or not finite. Then the
        # equation for u is solved with a matrix of zeros instead.
        usable = tf.math.is_finite(trace) & (trace > 0.0)
        trace = tf.where(usable, trace, tf.ones_like(trace))
        gram = tf.where(usable, gram, tf.zeros_like(gram))
        precision = EPSILON[residuals.dtype.name] * trace
        # The rounding of the Gram matrix and of its decomposition is smaller than this shift.
        shift = precision * tf.cast(tf.reduce_sum(tf.shape(jacobian)), trace.dtype)
        first = tf.where(damping > 0.0, damping, FIRST_DAMPING * trace)
        is_plain = ~usable | (first > MIN_PLAIN_DAMPING * precision)
        self._matrix, self._gram, self._lower, self._damped = tf.cond(
            is_plain,
            lambda: (matrix, gram, *[_identity_like(gram)] * 2),
            lambda: _whitened(matrix, gram, shift),
        )
        self.smallest_damping = tf.where(
            is_plain, precision * MIN_PLAIN_DAMPING / DAMPING_FACTOR,
            shift * EPSILON[residuals.dtype.name],
        )  # fmt: skip
        self.largest_damping = trace / EPSILON[residuals.dtype.name]
        self.first_damping = tf.clip_by_value(
            first, self.smallest_damping, self.largest_damping
        )

    def solve(self, residuals_after: Callable, damping: tf.Tensor) -> tuple:
        """Returns the lowest sum of squares, its step, and the number of evaluations.

        Args:
            residuals_after: A function that returns the residuals after a step.
            damping: The number that is added to the diagonal.
        """
        damped = damping * self._damped
        solve = _lu_solver(self._gram + damped)

        def correct(now: Corrections) -> list[Corrections]:
            error = self._right_side(now.residuals) - tf.linalg.matvec(damped, now.unknown)
            unknown = now.unknown + solve(error)
            step = self._step(unknown)
            # A while loop needs one shape, which the residuals of a user may not show.
            residuals = tf.ensure_shape(residuals_after(step), self._residuals.shape)
            value = tf.reduce_sum(residuals**2)
            count = now.count + 1
            continues = (value < WORTHWHILE_RATIO * now.value) & (count < MAX_CORRECTIONS)
            # This comparison is False for NaN.
            step, value = select(value < now.value, (step, value), (now.step, now.value))
            return [Corrections(count, unknown, residuals, step, value, continues)]

        start = Corrections(
            count=tf.constant(0),
            unknown=tf.zeros_like(self._gram[0]),
            residuals=self._residuals,
            step=tf.zeros([self._num_weights], damping.dtype),
            value=tf.constant(float("inf"), damping.dtype),
            continues=tf.constant(True),
        )
        end = tf.while_loop(lambda now: now.continues, correct, [start])[0]
        return end.value, end.step, end.count

    def _right_side(self, residuals: tf.Tensor) -> tf.Tensor:
        """Returns L^-1 b for some residuals."""
        return _call_one(
            self._is_dual,
            lambda: _solve_triangular(self._lower, residuals),
            lambda: tf.linalg.matvec(self._matrix, residuals),
        )

    def _step(self, unknown: tf.Tensor) -> tf.Tensor:
        """Returns the step of a solution w."""
        step = _call_one(
            self._is_dual,
            lambda: tf.linalg.matvec(self._matrix, unknown, transpose_a=True),
            lambda: _solve_triangular(self._lower, unknown, adjoint=True),
        )
        return -tf.ensure_shape(step, [self._num_weights])


def _whitened(matrix: tf.Tensor, gram: tf.Tensor, shift: tf.Tensor) -> tuple:
    """Returns B, B B', L and L^-1 L^-T of a matrix A with the Gram matrix A A'."""
    identity = _identity_like(gram)
    lower = tf.linalg.cholesky(gram + shift * identity)
    inverse = tf.linalg.triangular_solve(lower, identity)
    matrix = tf.linalg.triangular_solve(lower, matrix)
    return matrix, _gram(matrix), lower, _gram(inverse)


def _gram(matrix: tf.Tensor, num_halvings: int = NUM_HALVINGS) -> tf.Tensor:
    """Returns A A', with few of the products of two rows computed twice."""
    if num_halvings == 0:
        return tf.matmul(matrix, matrix, transpose_b=True)
    num_rows = matrix.shape[0]
    half = (tf.shape(matrix)[0] if num_rows is None else num_rows) // 2
    upper, lower = matrix[:half], matrix[half:]
    corner = tf.matmul(lower, upper, transpose_b=True)
    above = tf.concat([_gram(upper, num_halvings - 1), tf.transpose(corner)], axis=1)
    below = tf.concat([corner, _gram(lower, num_halvings - 1)], axis=1)
    return tf.concat([above, below], axis=0)


def _identity_like(matrix: tf.Tensor) -> tf.Tensor:
    return tf.linalg.set_diag(tf.zeros_like(matrix), tf.ones_like(matrix[0]))


def _solve_triangular(
    lower: tf.Tensor, vector: tf.Tensor, adjoint: bool = False
) -> tf.Tensor:
    """Returns L^-1 v, or L^-T v, for a lower triangular matrix L."""
    return tf.linalg.triangular_solve(lower, vector[:, None], adjoint=adjoint)[:, 0]


def _call_one(condition: bool | tf.Tensor, yes: Callable, no: Callable) -> tf.Tensor:
    """Calls one of two functions. If the condition is known, the other one is not traced."""
    if isinstance(condition, bool):
        return yes() if condition else no()
    return tf.cond(condition, yes, no)


def _lu_solver(matrix: tf.Tensor) -> Callable:
    """Returns a function that multiplies a vector by the inverse of a matrix."""
    # If rounding makes the matrix indefinite, a Cholesky decomposition of TensorFlow raises an
    # error, and this one does not. The resulting step is judged by its loss, as any other.
    upper, permutation = tf.linalg.lu(matrix)
    # tf.linalg.lu_solve would copy the matrix for each vector.
    lower = tf.linalg.band_part(upper, -1, 0)
    lower = tf.linalg.set_diag(lower, tf.ones_like(upper[0]))

    def times(vector: tf.Tensor) -> tf.Tensor:
        column = tf.gather(vector, permutation)[:, None]
        column = tf.linalg.triangular_solve(lower, column, lower=True)
        return tf.linalg.triangular_solve(upper, column, lower=False)[:, 0]

    return times
