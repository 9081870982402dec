"""Inverses, factors and determinants of matrices in the last two axes.

References:
    Griewank and Walther, 2008, "Evaluating derivatives", 2nd edition, section 13;
    Murray, 2016, "Differentiation of the Cholesky decomposition".
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import inner_leibniz, inner_sum, map_entries
from keras_smooth.jet.entries import Entry, minus, times, total
from keras_smooth.operations.lifting import full_jet, run, run_primals, same_rank
from keras_smooth.operations.rows import add, add_column


def _unframed(x: Any) -> Any:
    """Returns a jet whose entries are broadcast to all samples and all directions."""
    return full_jet(x).unframed() if isinstance(x, Jet) else x


def _adjoint(value: Entry) -> Entry:
    return None if value is None else tf.linalg.adjoint(value)


def _inverse(operation: tf.Operation, x: Jet) -> Jet:
    """The rule of Y X = 1: Y_k = -sum_(j >= 1) binomial(k, j) Y_(k - j) X_j Y_0."""
    x = _unframed(x)
    entries = _entries_of_equations(operation, x)
    inverse = _inverse_entries(x, run(operation, [x.primal]), entries)
    return x.like(inverse[0], inverse[1:])


def _inverse_entries(x: Jet, y: tf.Tensor, s: Sequence[Entry]) -> list[Entry]:
    """Returns the entries of the inverse of matrices.

    Args:
        x: A jet along the same curves.
        y: The inverse of the primal `s[0]`.
        s: The entries of the matrices.
    """
    inverse = [y]
    for k in range(1, x.order + 1):
        terms = [(inverse[k - j], s[j], math.comb(k, j)) for j in range(1, k)]
        known = total([times(y, s[k], 1, tf.matmul), inner_sum(x, k, terms, tf.matmul)])
        inverse.append(minus(times(known, y, 1, tf.matmul)))
    return inverse


def _regular_domain(operation: tf.Operation, a: tf.Tensor, *others: tf.Tensor) -> list:
    return [tf.abs(tf.linalg.det(a))]


add("MatrixInverse", _inverse, exact=True, domain=_regular_domain)


def _solve(operation: tf.Operation, a: Any, b: Any) -> Jet:
    """The rule of A Y = B: Y_k = A^-1 (B_k - sum_(j >= 1) binomial(k, j) A_j Y_(k - j))."""
    a, b = same_rank(_unframed(a), _unframed(b))
    matrices = _entries_of_equations(operation, a)
    y = [run_primals(operation, [a, b])]
    for k in range(1, a.order + 1):
        ends = times(matrices[k], y[0], 1, tf.matmul)
        known = total([ends, inner_leibniz(a, matrices, y, k, tf.matmul)])
        remainder = total([b.series[k - 1], minus(known)])
        if remainder is not None:
            remainder = run(operation, [_broadcast_matrix(a.primal, remainder), remainder])
        y.append(remainder)
    return a.like(y[0], y[1:])


def _entries_of_equations(operation: tf.Operation, a: Jet) -> list:
    """Returns the entries of A, or of its triangle or adjoint, depending on the operation."""
    entries = a.entries
    if operation.type.endswith("TriangularSolve"):
        below = (-1, 0) if operation.get_attr("lower") else (0, -1)
        entries = [None if v is None else tf.linalg.band_part(v, *below) for v in entries]
    if operation.get_attr("adjoint"):
        entries = [_adjoint(v) for v in entries]
    return entries


def _broadcast_matrix(matrix: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Returns a matrix broadcast to the leading axes of other matrices."""
    shape = tf.concat([tf.shape(others)[:-2], tf.shape(matrix)[-2:]], axis=0)
    return tf.broadcast_to(matrix, shape)


def _triangular_domain(operation: tf.Operation, a: tf.Tensor, b: tf.Tensor) -> list:
    return [tf.abs(tf.linalg.diag_part(a))]


add("MatrixSolve", _solve, exact=True, domain=_regular_domain)
add("MatrixTriangularSolve", _solve, exact=True, domain=_triangular_domain)


def _cholesky(operation: tf.Operation, x: Jet) -> Jet:
    """The rule of the factor L of L L^T = X: L_k = L_0 phi(L_0^-1 R L_0^-T).

    R is X_k minus the terms of L_1 to L_(k - 1), phi the lower triangle with half of the diagonal.
    """
    x = _unframed(x)
    factors = [run(operation, [x.primal])]
    root = factors[0]
    product = functools.partial(tf.matmul, adjoint_b=True)
    for k in range(1, x.order + 1):
        known = inner_leibniz(x, factors, factors, k, product)
        remainder = total([_symmetric(x.series[k - 1]), minus(known)])
        factors.append(None if remainder is None else _entry_of_factor(root, remainder))
    return x.like(root, factors[1:])


def _symmetric(value: Entry) -> Entry:
    """Returns the Hermitian matrix of a lower triangle, which alone the operation reads."""
    if value is None:
        return None
    lower = tf.linalg.band_part(value, -1, 0)
    return lower + tf.linalg.adjoint(lower) - tf.linalg.band_part(value, 0, 0)


def _entry_of_factor(root: tf.Tensor, remainder: tf.Tensor) -> tf.Tensor:
    """Returns root phi(root^-1 remainder root^-T), see `_cholesky`."""
    wide = _broadcast_matrix(root, remainder)
    left = tf.linalg.triangular_solve(wide, remainder)
    both = tf.linalg.adjoint(tf.linalg.triangular_solve(wide, tf.linalg.adjoint(left)))
    half = tf.linalg.band_part(both, -1, 0) - 0.5 * tf.linalg.band_part(both, 0, 0)
    return tf.matmul(wide, half)


# `eigvalsh` reads the lower triangle, as the operation does.
add("Cholesky", _cholesky, exact=True, domain=lambda operation, x: [tf.linalg.eigvalsh(x)])


def _log_determinant(operation: tf.Operation, x: Jet) -> list:
    """The rule of the logarithm l of |det X|: l' = tr(X^-1 X')."""
    x = _unframed(x)
    sign, logarithm = run(operation, [x.primal])
    return [sign, x.like(logarithm, _log_determinant_series(x))]


def _log_determinant_series(x: Jet) -> list[Entry]:
    """Returns the derivatives of the logarithm of |det X|, from the entries of the inverse."""
    lower = Jet(x.primal, x.series[:-1])
    inverse = _inverse_entries(lower, tf.linalg.inv(x.primal), lower.entries)
    series = []
    for k in range(1, x.order + 1):
        terms = (
            (inverse[k - j], x.series[j - 1], math.comb(k - 1, j - 1)) for j in range(1, k)
        )
        ends = times(inverse[0], x.series[k - 1], 1, tf.matmul)
        entry = total([ends, inner_sum(x, k, terms, tf.matmul)])
        series.append(None if entry is None else tf.linalg.trace(entry))
    return series


def _determinant(operation: tf.Operation, x: Jet) -> Any:
    """The rule of det X, from Y = U* X V with the singular vectors of the primal, held constant.

    Y = [[P, Q], [R, S]] has det Y = det P det(S - R P^-1 Q). S has the order + 1 smallest singular
    values. So if P is singular, all of these are 0, and so are the determinant and its series.
    """
    size = x.shape[-1]
    if size is None:
        return NotImplemented
    x = _unframed(x)
    if x.primal.shape.rank == 2:
        # A single matrix gets a batch axis, which functions of jets need.
        y = _determinant(operation, map_entries(x, x.primal[None], lambda v: v[:, None]))
        return map_entries(y, y.primal[0], lambda v: v[:, 0])
    x, factor = _balanced(x)
    values, u, v = map(tf.stop_gradient, tf.linalg.svd(x.primal))
    y = jet.bilinear(tf.matmul, jet.bilinear(tf.matmul, tf.linalg.adjoint(u), x), v)
    sign = tf.linalg.det(u) * tf.math.conj(tf.linalg.det(v)) * factor
    cut = size - min(size, x.order + 1)
    large, small = slice(cut), slice(cut, size)
    s = _block(y, small, small)
    if not cut:
        return _determinant_without_division(s) * sign
    p, q, r = (
        _block(y, *place) for place in ((large, large), (large, small), (small, large))
    )
    p, is_regular = _without_null_values(p, values[..., :cut], values[..., :1])
    inverse = _inverse_entries(p, tf.linalg.inv(p.primal), p.entries)
    shift = jet.bilinear(
        tf.matmul, jet.bilinear(tf.matmul, r, p.like(inverse[0], inverse[1:])), q
    )
    value = tf.linalg.det(p.primal)
    logarithm = p.like(tf.zeros_like(value), _log_determinant_series(p))
    product = jet.elementwise(jet.exp, logarithm) * (value * sign * is_regular)
    return product * _determinant_without_division(s - shift)


def _balanced(x: Jet) -> tuple[Jet, tf.Tensor]:
    """Returns matrices with scaled rows and columns, and the factor between the determinants.

    Without scaling, the singular values of small rows would be taken for 0.
    """
    rows = _units(x.primal, axis=-1)
    x = jet.bilinear(tf.matmul, tf.linalg.diag(1.0 / rows), x)
    columns = _units(x.primal, axis=-2)
    x = jet.bilinear(tf.matmul, x, tf.linalg.diag(1.0 / columns))
    return x, tf.reduce_prod(rows * columns, axis=-1)


def _units(value: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns a constant power of 2 near the largest entry of each row or column."""
    largest = tf.reduce_max(tf.abs(tf.stop_gradient(value)), axis)
    exponents = tf.round(tf.math.log(largest) / np.log(2.0))
    units = tf.where(largest > 0.0, 2.0**exponents, tf.ones_like(largest))
    return tf.cast(units, value.dtype)


def _block(x: Jet, rows: slice, columns: slice) -> Jet:
    return jet.linear(lambda v: v[..., rows, columns], x)


def _without_null_values(
    x: Jet, values: tf.Tensor, largest: tf.Tensor
) -> tuple[Jet, tf.Tensor]:
    """Returns matrices whose singular values 0 are replaced, and 0 for each such matrix, else 1."""
    rounding = np.finfo(values.dtype.as_numpy_dtype).eps * x.shape[-1]
    is_null = values <= rounding * largest
    replacement = tf.where(is_null, tf.maximum(largest, rounding), tf.zeros_like(values))
    filled = x.primal + tf.cast(tf.linalg.diag(replacement), x.dtype)
    return x.like(filled, x.series), tf.cast(~tf.reduce_any(is_null, axis=-1), x.dtype)


def _determinant_without_division(x: Jet) -> Jet:
    """Returns the determinant of small matrices, by products of matrices without division.

    For diagonal matrices with entries >= 0, there is no cancellation.

    Source: Bird, 2011, "A simple division-free algorithm for computing determinants".
    """
    products = x
    for _ in range(x.shape[-1] - 1):
        products = jet.bilinear(tf.matmul, jet.linear(_with_sums_on_diagonal, products), x)
    determinant = jet.linear(lambda v: v[..., 0, 0], products)
    return determinant if x.shape[-1] % 2 else -determinant


def _with_sums_on_diagonal(v: tf.Tensor) -> tf.Tensor:
    """Returns upper triangles; each diagonal entry is minus the sum of those that follow it."""
    sums = tf.cumsum(tf.linalg.diag_part(v), axis=-1, exclusive=True, reverse=True)
    return tf.linalg.set_diag(tf.linalg.band_part(v, 0, -1), -sums)


add("LogMatrixDeterminant", _log_determinant, exact=True, domain=_regular_domain)
# TensorFlow's gradient uses the inverse, so that singular matrices are excluded from the domain.
add("MatrixDeterminant", _determinant, domain=_regular_domain)


def _eigendecomposition(x: Jet) -> tuple[Jet, Jet]:
    """Returns eigenvalues and eigenvectors of symmetric matrices, from A V = V L.

    With V_k = V C, order k of both sides is L C - C L = L_k + V^T S, where S has the terms of
    lower orders. The diagonal gives L_k, and the other entries give C if the eigenvalues differ.
    The diagonal of C follows from V^T V = 1. An entry of C is NaN if its two eigenvalues are equal
    and the derivative mixes their eigenvectors.
    """
    x = _unframed(x)
    values, vectors = tf.linalg.eigh(x.primal)
    a: list[Entry] = [x.primal, *(_symmetric(value) for value in x.series)]
    gaps = values[..., :, None] - values[..., None, :]
    v: list[Entry] = [vectors]
    w: list[Entry] = [tf.linalg.diag(values)]
    for k in range(1, x.order + 1):
        moved = times(a[k], vectors, 1, tf.matmul), inner_leibniz(x, a, v, k, tf.matmul)
        remainder = total([inner_leibniz(x, v, w, k, tf.matmul), minus(total(moved))])
        if remainder is None:
            v.append(None)
            w.append(None)
            continue
        product = tf.matmul(vectors, remainder, transpose_a=True)
        w.append(-tf.linalg.diag(tf.linalg.diag_part(product)))
        mixed = tf.math.divide_no_nan(product, gaps * tf.ones_like(product))
        # NaN is a constant here: NaN times a number would make all gradients NaN.
        nan = tf.cast(math.nan, mixed.dtype)
        mixed = tf.where(_mixes_equal_eigenvalues(product, gaps), nan, mixed)
        scale = inner_leibniz(x, list(map(_adjoint, v)), v, k, tf.matmul)
        if scale is not None:
            mixed -= 0.5 * tf.linalg.diag(tf.linalg.diag_part(scale))
        v.append(tf.matmul(vectors * tf.ones_like(mixed), mixed))
    series = [None if value is None else tf.linalg.diag_part(value) for value in w[1:]]
    return x.like(values, series), x.like(vectors, v[1:])


def _mixes_equal_eigenvalues(product: tf.Tensor, gaps: tf.Tensor) -> tf.Tensor:
    """Returns for each entry whether it mixes eigenvectors of one eigenvalue, beyond rounding."""
    size = tf.abs(tf.linalg.set_diag(product, tf.zeros_like(product[..., 0])))
    largest = tf.reduce_max(tf.abs(product), axis=[-2, -1], keepdims=True)
    half_of_digits = np.finfo(size.dtype.as_numpy_dtype).eps ** 0.5
    return (gaps == 0) & (size > half_of_digits * largest)


def _singular_values(operation: tf.Operation, x: Jet) -> Any:
    """The rule of the singular values of A: the largest eigenvalues of [[0, A], [A^T, 0]]."""
    if operation.get_attr("compute_uv"):
        return NotImplemented
    x, number = full_jet(x), min(x.shape[-2:])
    both = map_entries(x, _beside_transpose(x.primal), _beside_transpose)
    values, _ = _eigendecomposition(both)
    largest = map_entries(values, values.primal, lambda v: v[..., ::-1][..., :number])
    return [largest, None, None]


def _beside_transpose(v: tf.Tensor) -> tf.Tensor:
    """Returns [[0, A], [A^T, 0]]."""
    turned = tf.linalg.adjoint(v)
    above = tf.concat([tf.zeros_like(tf.matmul(v, turned)), v], axis=-1)
    below = tf.concat([turned, tf.zeros_like(tf.matmul(turned, v))], axis=-1)
    return tf.concat([above, below], axis=-2)


def _singular_values_apart(operation: tf.Operation, x: tf.Tensor) -> list:
    values = tf.linalg.svd(x, compute_uv=False)
    return [values[..., :-1] - values[..., 1:], values[..., -1]]


def _by_attribute(attribute: str, if_set: float, otherwise: float) -> Callable:
    """Returns a column whose value depends on an attribute of the operation."""
    return lambda operation, moving: if_set if operation.get_attr(attribute) else otherwise


def _smallest_distance(distances: Callable) -> Callable:
    """Returns a column `wrong_at`: the smallest distance, since each one affects all outputs."""
    return lambda operation, x: tf.reduce_min(
        [tf.reduce_min(distance) for distance in distances(operation, x)]
    )


# Where the rank changes, the factors jump and singular values have a kink.
add("Qr", smoothness=-1, breakpoints=_singular_values_apart)
add(
    "Svd",
    _singular_values,
    smoothness=_by_attribute("compute_uv", -1, 0),
    breakpoints=_singular_values_apart,
    tapes_right_to=_by_attribute("compute_uv", math.inf, 1),
)
# The factors jump where another entry of a column becomes the pivot, which is the largest.
add("Lu", smoothness=-1)


def _eigenvalues_apart(operation: tf.Operation, x: tf.Tensor) -> list:
    values = tf.linalg.eigvalsh(x)
    return [values[..., 1:] - values[..., :-1]]


add(
    "SelfAdjointEigV2",
    lambda operation, x: list(_eigendecomposition(x)),
    # Where two eigenvalues are equal, they have a kink and their eigenvectors jump.
    smoothness=_by_attribute("compute_v", -1, 0),
    breakpoints=_eigenvalues_apart,
    # At equal eigenvalues, TensorFlow's gradient ignores how their eigenvectors mix.
    tapes_right_to=_by_attribute("compute_v", 0, 1),
)
add_column("SelfAdjointEigV2", wrong_at=_smallest_distance(_eigenvalues_apart))
add_column("Svd", wrong_at=_smallest_distance(_singular_values_apart))
