"""Self-scaled L-BFGS, BFGS and Broyden: memories against matrices, line search, test problems."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from looped import each
from more_garbow_hillstrom import PROBLEMS
from representatives import representatives

from keras_smooth import Status, fit_lbfgs
from keras_smooth.lbfgs.minimizers import (
    MINIMIZERS,
    Minimizer,
    dense_inverse_hessian,
    inverse_hessian,
    line_search,
    num_pairs_of,
    pairs,
    updates,
)
from keras_smooth.lbfgs.minimizers.dense_inverse_hessian import DenseInverseHessian

TOLERANCE = {"float64": 1e-6, "float32": 1e-3}


def update_by_bfgs(matrix, step, change, ratio):
    """Returns the self-scaled BFGS update of an inverse Hessian (Al-Baali, 1998), as a reference."""
    rho = 1.0 / (change @ step)
    v = np.eye(len(step)) - rho * np.outer(change, step)
    return max(ratio, 1.0) * v.T @ matrix @ v + rho * np.outer(step, step)


def update_by_broyden(matrix, step, change, ratio):
    """Returns the self-scaled Broyden update of an inverse Hessian (Kiyani et al., 2025).

    Their formula, with B and theta, updates the Hessian, so that the matrix is inverted before and
    after. Their factor |sigma|^(1 / (1 - n)) is left out.
    """
    hessian = np.linalg.inv(matrix)
    curvature, image = change @ step, hessian @ step
    b, h = step @ image / curvature, change @ matrix @ change / curvature
    # The minimizer computes the same number from its line search.
    assert ratio == pytest.approx(b, rel=1e-6)
    a = h * b - 1.0
    least = min(1.0, h * (1.0 - np.sqrt(a / (1.0 + a))))
    theta = max((least - 1.0) / a, min(1.0 / least, (1.0 - b) / b))
    sigma = 1.0 + a * theta
    tau = min(least, sigma) if theta <= 0.0 else least * min(1.0, 1.0 / theta)
    w = change / curvature - image / (step @ image)
    old = hessian - np.outer(image, image) / (step @ image)
    old += theta * (step @ image) * np.outer(w, w)
    return np.linalg.inv(tau * old + np.outer(change, change) / curvature)


def dense_matrix(steps, changes, ratios, update=update_by_bfgs):
    """Returns the inverse Hessian of these pairs; the first pair scales the identity."""
    scale = steps[0] @ changes[0] / (changes[0] @ changes[0])
    matrix = update_by_bfgs(scale * np.eye(len(steps[0])), steps[0], changes[0], 1.0)
    for pair in zip(steps[1:], changes[1:], ratios[1:]):
        matrix = update(matrix, *pair)
    return matrix


def curvature_ratios(steps, changes, update):
    """Returns s.B s / (y.s) of each pair, where B is the inverse of the matrix before; first 1."""
    ratios = [1.0]
    for number, (step, change) in enumerate(zip(steps[1:], changes[1:]), 1):
        matrix = dense_matrix(steps[:number], changes[:number], ratios, update)
        ratios.append(step @ np.linalg.solve(matrix, step) / (step @ change))
    return np.array(ratios)


def random_pairs(num_stored, size):
    """Returns steps and changes of a convex quadratic function, ratios, and the last gradient."""
    rng = np.random.default_rng(num_stored)
    root = rng.normal(size=(size, size))
    steps = rng.normal(size=(num_stored, size))
    changes = steps @ (root @ root.T / size + np.eye(size))
    ratios = rng.uniform(0.5, 3.0, size=num_stored)
    return steps, changes, ratios, rng.normal(size=size)


def memory_of_pairs(steps, changes, ratios, gradient, num_pairs, dtype="float64"):
    """Returns an L-BFGS memory with these pairs; `gradient` is that after the last pair."""
    memory = inverse_hessian.empty(num_pairs, tf.zeros(steps.shape[1], dtype))
    return store_pairs(inverse_hessian, memory, steps, changes, ratios, gradient)


BFGS, BROYDEN = map(DenseInverseHessian, (updates.bfgs, updates.broyden))


def matrix_of_pairs(steps, changes, ratios, gradient, dtype="float64", kind=BFGS):
    """Returns a dense memory with these pairs; `gradient` is that after the last pair."""
    memory = dense_inverse_hessian.empty(tf.zeros(steps.shape[1], dtype))
    return store_pairs(kind, memory, steps, changes, ratios, gradient)


def store_pairs(kind, memory, steps, changes, ratios, gradient):
    gradients = gradient - changes.sum(0) + np.cumsum(changes, axis=0)
    dtype = memory[0].dtype
    store = traced_store(
        kind, dense_inverse_hessian.BLOCK_ROWS, dense_inverse_hessian.UPDATES
    )
    for row in zip(steps, changes, gradients, ratios):
        memory = store(memory, *(tf.constant(v, dtype) for v in row))
    return memory


@functools.cache
def traced_store(kind, *constants):
    """Returns a traced `store`, which is faster than eager operations.

    Its constants are those of the module at the time of the trace, so that they are arguments.
    """
    del constants
    return tf.function(kind.store, autograph=False)


# One pair, a ring buffer that is not full, a full one, and ones whose oldest pairs were replaced.
@pytest.mark.parametrize("num_stored", [1, 3, 5, 6, 13])
@pytest.mark.parametrize("scaled", [True, False], ids=["self-scaled", "plain"])
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-8), ("float32", 1e-2)])
def test_memory_equals_dense_matrix(num_stored, scaled, dtype, rtol):
    num_pairs, size = 5, 20
    steps, changes, ratios, gradient = random_pairs(num_stored, size)
    if not scaled:
        ratios = np.ones(num_stored)
    memory = memory_of_pairs(steps, changes, ratios, gradient, num_pairs, dtype)
    latest = slice(-num_pairs, None)
    expected = dense_matrix(steps[latest], changes[latest], ratios[latest]) @ gradient
    product = inverse_hessian.times_gradient(memory, tf.constant(gradient, dtype))
    # Rounding times a few hundred operations, since the condition number of R is about 10.
    np.testing.assert_allclose(product, expected, rtol=rtol, atol=rtol)


# Few weights, since a case costs a trace for each block size.
NUM_WEIGHTS = 8


# Rows of a block: one block, one and a remainder, many blocks, single numbers.
@pytest.mark.parametrize("block_rows", [512, 8, 5, 2, 1])
# Number of pairs, and of updates stored separately, which are written to the matrix never, almost,
# often, or always.
@pytest.mark.parametrize(("num_stored", "num_separate"), [(1, 4), (4, 4), (13, 4), (13, 1)])
@pytest.mark.parametrize(
    ("kind", "update"), [(BFGS, update_by_bfgs), (BROYDEN, update_by_broyden)]
)
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-8), ("float32", 1e-2)])
def test_matrix_in_blocks_equals_dense_matrix(
    block_rows, num_stored, num_separate, kind, update, dtype, rtol, monkeypatch
):
    monkeypatch.setattr(dense_inverse_hessian, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(dense_inverse_hessian, "UPDATES", num_separate)
    steps, changes, _, gradient = random_pairs(num_stored, NUM_WEIGHTS)
    ratios = curvature_ratios(steps, changes, update)
    memory = matrix_of_pairs(steps, changes, ratios, gradient, dtype, kind)
    expected = dense_matrix(steps, changes, ratios, update) @ gradient
    product = kind.times_gradient(memory, tf.constant(gradient, dtype))
    # Rounding as for the pairs. Here the product is updated with the matrix.
    np.testing.assert_allclose(product, expected, rtol=rtol, atol=rtol)
    # Here the product is computed from blocks and separate updates.
    recomputed = kind.with_gradient(memory, tf.constant(2.0 * gradient, dtype))
    product = kind.times_gradient(recomputed, tf.constant(2.0 * gradient, dtype))
    np.testing.assert_allclose(product, 2.0 * expected, rtol=rtol, atol=rtol)
    num_blocks, size, _ = memory.blocks.shape
    # Half of the matrix, and the numbers above the diagonal in diagonal blocks.
    assert (
        num_blocks * size**2 <= NUM_WEIGHTS * (NUM_WEIGHTS + size) / 2 + NUM_WEIGHTS * size
    )


def test_matrix_stays_accurate_with_many_factors_of_two():
    """60 pairs have a factor of 2 each, 1e18 in all, so that the identity is negligible."""
    steps, changes, _, gradient = random_pairs(60, 6)
    ratios = np.full(60, 2.0)
    memory = matrix_of_pairs(steps, changes, ratios, gradient)
    expected = dense_matrix(steps, changes, ratios) @ gradient
    product = BFGS.times_gradient(memory, tf.constant(gradient))
    # Measured: 1e-12 of the largest entry. With a remaining identity, the error would be as large
    # as the entries.
    np.testing.assert_allclose(product, expected, rtol=0, atol=1e-6 * abs(expected).max())
    assert int(memory.num_pairs) == 60 and float(memory.shift) == 0.0


# Number of weights and dtype. The limits are 22,905 weights in float64 and about 32,000 in float32.
@pytest.mark.parametrize(
    ("num_weights", "dtype"), [(23_000, "float64"), (33_000, "float32")]
)
def test_matrix_above_the_memory_limit_raises(num_weights, dtype):
    with pytest.raises(
        ValueError, match=f"{num_weights} weights .* and at most 2 GiB are used.*lbfgs"
    ):
        dense_inverse_hessian.empty(tf.zeros(num_weights, dtype))


# Bytes of a block of 2, 4 or all rows, and the rows of the blocks that hold 5 pairs.
@pytest.mark.parametrize(("block_bytes", "num_rows"), [(320, 10), (640, 12), (960, 10)])
@pytest.mark.parametrize("num_stored", [1, 2, 3, 4, 13])
def test_pairs_in_blocks_equal_pairs_in_one_block(
    block_bytes, num_rows, num_stored, monkeypatch
):
    num_pairs, size = 5, 20
    steps, changes, ratios, gradient = random_pairs(num_stored, size)
    vector = tf.constant(gradient)
    whole = memory_of_pairs(steps, changes, ratios, gradient, num_pairs)
    monkeypatch.setattr(pairs, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(pairs, "MIN_BLOCKS", 2)
    memory = memory_of_pairs(steps, changes, ratios, gradient, num_pairs)
    assert memory.pairs.shape == (num_rows, size)
    product, expected = (inverse_hessian.times_gradient(m, vector) for m in (memory, whole))
    # The sums have another order.
    np.testing.assert_allclose(product, expected, rtol=1e-11, atol=1e-11)


def test_empty_memory_is_the_identity():
    memory = inverse_hessian.empty(3, tf.zeros(4, tf.float64))
    vector = tf.constant([1.0, -2.0, 3.0, 0.0], tf.float64)
    np.testing.assert_array_equal(inverse_hessian.times_gradient(memory, vector), vector)


# Components of the change of the gradient, parallel and orthogonal to the step.
CURVATURES_BELOW_ROUNDING = {
    "no change": (0.0, 0.0),
    "negative": (-1.0, 0.5),
    "rounding": (1e-17, 1.0),
}


@pytest.mark.parametrize("name", CURVATURES_BELOW_ROUNDING)
@pytest.mark.parametrize("num_stored", [0, 2, 3, 4])
@pytest.mark.parametrize(
    ("kind", "make_memory", "num_kept"),
    [
        (inverse_hessian, functools.partial(memory_of_pairs, num_pairs=3), 3),
        (BFGS, matrix_of_pairs, 4),
    ],
    ids=["pairs", "matrix"],
)
def test_pair_with_curvature_below_rounding_is_not_stored(
    name, num_stored, kind, make_memory, num_kept
):
    """The matrix is unchanged, and is multiplied by the new gradient."""
    parallel, orthogonal = CURVATURES_BELOW_ROUNDING[name]
    pairs = random_pairs(num_stored, 6)[:3]
    step, change = np.eye(6)[0], np.array([parallel, orthogonal, 0.0, 0.0, 0.0, 0.0])
    gradient = np.arange(6.0)
    memory = make_memory(*pairs, gradient - change)
    row = (step, change, gradient, 2.0)
    after = kind.store(memory, *(tf.constant(v, tf.float64) for v in row))
    expected = gradient
    if num_stored:
        expected = dense_matrix(*(part[-num_kept:] for part in pairs)) @ gradient
    product = kind.times_gradient(after, tf.constant(gradient))
    np.testing.assert_allclose(product, expected, rtol=1e-10, atol=1e-10)
    assert int(after.num_pairs) == num_stored


def test_lbfgs_with_as_many_pairs_as_weights_equals_broyden():
    """The numbers are those of "broyden" to the last bit; with one pair less they differ."""
    final = []
    for method, num_pairs in (("lbfgs", 6), ("lbfgs", 50), ("broyden", 1), ("lbfgs", 5)):
        state = quartic_minimizer(method, num_pairs).begin(tf.fill([6], FAR), UNWEIGHTED)
        # The program accepts both kinds of memory of "lbfgs".
        state = quartic_minimizer(method, 5).advance(state, 9, 0.0, UNWEIGHTED)
        final.append(state.position.numpy())
    assert np.array_equal(final[0], final[1]) and np.array_equal(final[0], final[2])
    assert not np.array_equal(final[0], final[3])


def quartic(x):
    """Returns value and gradient of a convex, not quadratic function of six variables.

    Its minimum is not 0.
    """
    i = tf.range(1, 7, dtype=x.dtype)
    value = tf.reduce_sum(i * x**2 + (x - 0.3) ** 4) + tf.reduce_sum(x[1:] * x[:-1])
    gradient = 2.0 * i * x + 4.0 * (x - 0.3) ** 3
    gradient += tf.concat([x[1:], [0.0]], 0) + tf.concat([[0.0], x[:-1]], 0)
    return value, gradient


def weighted_quartic(x, weights):
    """Returns value and gradient of the quartic plus a weighted sum, as for other data."""
    value, gradient = quartic(x)
    return (
        value + tf.reduce_sum(weights * (x - 1.0) ** 2),
        gradient + 2.0 * weights * (x - 1.0),
    )


FAR = tf.constant(3.0, tf.float64)
# With these weights it is the function without them, to the last bit.
UNWEIGHTED = tf.zeros(6, tf.float64)
NUM_EVALUATIONS = tf.Variable(0)


@functools.cache
def quartic_minimizer(method, num_pairs=5):
    """Returns a minimizer of the weighted quartic, which counts evaluations.

    Data and state are arguments of its program. So the tests share the traces, which take longer
    than the iterations.
    """

    def counted(x, weights):
        NUM_EVALUATIONS.assign_add(1)
        return weighted_quartic(x, weights)

    return Minimizer(counted, method, num_pairs, jit_compile=False)


@pytest.mark.parametrize(
    ("method", "num_kept", "update"),
    [
        ("lbfgs", 5, update_by_bfgs),
        ("bfgs", 10, update_by_bfgs),
        ("broyden", 10, update_by_broyden),
    ],
)
def test_directions_equal_those_of_a_dense_matrix(method, num_kept, update):
    """Compares s.B s from the line search with that of an inverted dense matrix."""
    minimizer = quartic_minimizer(method)
    start = tf.constant([3.0, -2.0, 1.0, 4.0, -1.0, 2.0], tf.float64)
    state = minimizer.begin(start, UNWEIGHTED)
    steps, changes, ratios = [], [], []
    while len(steps) < 10:
        after = minimizer.advance(state, 1, 0.0, UNWEIGHTED)
        step, change = (
            (getattr(after, name) - getattr(state, name)).numpy()
            for name in ("position", "objective_gradient")
        )
        ratio = 1.0
        if steps:
            latest = (part[-num_kept:] for part in (steps, changes, ratios))
            matrix = dense_matrix(*latest, update)
            ratio = step @ np.linalg.solve(matrix, step) / (step @ change)
        steps, changes, ratios = [*steps, step], [*changes, change], [*ratios, ratio]
        latest = (part[-num_kept:] for part in (steps, changes, ratios))
        matrix = dense_matrix(*latest, update)
        expected = -matrix @ after.objective_gradient.numpy()
        # Steps become as small as 1e-4, so that rounding of the positions is 1e-12 of them.
        np.testing.assert_allclose(after.direction, expected, rtol=1e-6)
        state = after
    assert max(ratios) > 1.1 and min(ratios) < 1.0


def states_before_and_after_a_move(method, change=lambda memory: memory):
    """Returns the state after 20 iterations, that on other data, and the gradient there."""
    minimizer = quartic_minimizer(method)
    weights = tf.cast(tf.range(6.0), tf.float64)
    # With as many pairs as weights, "lbfgs" has a matrix too.
    state = quartic_minimizer(method, 6).begin(tf.fill([6], FAR), weights)
    state = minimizer.advance(state, 20, 0.0, weights)
    state = state._replace(memory=change(state.memory))
    after = minimizer.move(state, state.position, 3.0 * weights)
    return state, after, weighted_quartic(state.position, 3.0 * weights)[1]


@pytest.mark.parametrize("method", ["lbfgs", "broyden", "bfgs"])
def test_move_to_other_data_keeps_the_matrix(method):
    state, after, gradient = states_before_and_after_a_move(method)
    columns = [
        BFGS.with_gradient(state.memory, row).product for row in tf.eye(6, dtype="float64")
    ]
    # Traced and eager sums of a few numbers below 100 are rounded differently.
    np.testing.assert_allclose(after.objective_gradient, gradient, atol=1e-13)
    # The sums have another order, and the condition number of the matrix is about 10.
    expected = -np.stack(columns) @ after.objective_gradient.numpy()
    np.testing.assert_allclose(after.direction, expected, rtol=1e-10, atol=1e-12)
    assert float(after.slope) < 0.0 and float(after.length) == 1.0
    assert int(after.num_iterations) == int(state.num_iterations) == 20
    evaluations = int(state.num_objective_evaluations) + 1
    assert int(after.num_objective_evaluations) == evaluations


def with_rank_one_matrix(vector, memory):
    """Returns the memory with v v' as its matrix."""
    inner = tf.scatter_nd([[0, 0, 0]], tf.ones(1, memory.inner.dtype), memory.inner.shape)
    basis = tf.broadcast_to(tf.constant(vector, memory.basis.dtype), memory.basis.shape)
    return memory._replace(
        scale=0.0 * memory.scale, shift=0.0 * memory.shift, inner=inner, basis=basis
    )


def with_negated_matrix(memory):
    changed = {
        name: -getattr(memory, name) for name in ("scale", "shift", "inner", "product")
    }
    return memory._replace(**changed)


def with_almost_orthogonal_direction(memory):
    """Returns a memory that turns the new gradient by a right angle, up to a cosine of 1e-9."""
    gradient = states_before_and_after_a_move("broyden")[2].numpy()
    other = np.roll(gradient, 1)
    other -= (other @ gradient) / (gradient @ gradient) * gradient
    return with_rank_one_matrix(
        other / np.linalg.norm(other) + 1e-9 * gradient / np.linalg.norm(gradient), memory
    )


def with_nan(memory):
    return memory._replace(shift=memory.shift * np.nan)


@pytest.mark.parametrize(
    "spoil", [with_negated_matrix, with_almost_orthogonal_direction, with_nan]
)
def test_move_resets_a_matrix_without_a_descent_direction(spoil):
    _, after, gradient = states_before_and_after_a_move("broyden", spoil)
    np.testing.assert_allclose(after.objective_gradient, gradient, atol=1e-13)
    np.testing.assert_array_equal(after.direction, -after.objective_gradient)
    assert int(after.num_iterations) == 0 and int(after.memory.num_pairs) == 0
    assert not bool(after.is_newton)


def test_matrix_that_is_not_positive_definite_is_reset():
    """Afterwards the memory has only the last pair."""
    steps, changes, ratios, gradient = random_pairs(4, 6)
    memory = with_negated_matrix(
        matrix_of_pairs(steps[:3], changes[:3], ratios[:3], gradient - changes[3])
    )
    row = (steps[3], changes[3], gradient, 1.0)
    after = BFGS.store(memory, *(tf.constant(v, tf.float64) for v in row))
    expected = dense_matrix(steps[3:], changes[3:], [1.0]) @ gradient
    np.testing.assert_allclose(BFGS.times_gradient(after, None), expected, rtol=1e-12)
    assert int(after.num_pairs) == int(after.num_updates) == 1


# Method, number of rows and weights, dtype, and the expected number of pairs.
NUM_PAIRS = {
    "few rows": ("lbfgs", 10, 30_000, "float64", 50),
    "few rows and weights": ("lbfgs", 10, 600, "float64", 600),
    "very few weights": ("lbfgs", 10, 5, "float64", 5),
    "a matrix of 8 MiB": ("lbfgs", 1000, 1250, "float64", 1250),
    "very few in float32": ("lbfgs", 10, 5, "float32", 4),
    "no matrix in float32": ("lbfgs", 10, 600, "float32", 599),
    "a matrix of more": ("lbfgs", 1000, 1300, "float64", 1300),
    "a matrix of more for few rows": ("lbfgs", 300, 1300, "float64", 403),
    "a matrix of 64 MiB": ("lbfgs", 10**4, 3800, "float64", 3800),
    "a matrix of more than that": ("lbfgs", 10**4, 4000, "float64", 300),
    "cheap in bytes": ("lbfgs", 10, 3000, "float64", 174),
    "cheaper in float32": ("lbfgs", 10, 3000, "float32", 349),
    "the article's": ("lbfgs", 1000, 3001, "float64", 3001),
    "a third of the rows": ("lbfgs", 600, 3000, "float64", 200),
    "many rows": ("lbfgs", 10**6, 5000, "float64", 300),
    "many rows in float32": ("lbfgs", 10**6, 3000, "float32", 349),
    "many weights": ("lbfgs", 10**6, 10**6, "float64", 16),
    "many weights in float32": ("lbfgs", 10**6, 10**6, "float32", 33),
    "too many weights": ("lbfgs", 10**6, 10**9, "float64", 3),
    "two loops": ("tfp_lbfgs", 10**6, 3000, "float64", 50),
    "no pairs": ("bfgs", 10**6, 3000, "float64", 1),
    "nor of Broyden": ("broyden", 10**6, 3000, "float64", 1),
    "no pairs of TFP": ("tfp_bfgs", 10**6, 3000, "float64", 1),
}


@pytest.mark.parametrize("name", NUM_PAIRS)
def test_default_number_of_pairs(name):
    method, *size, expected = NUM_PAIRS[name]
    assert num_pairs_of(method, None, *size) == expected
    # A number in the argument is used by methods with pairs only.
    num_pairs = num_pairs_of(method, 7, *size)
    assert num_pairs == (7 if method in ("lbfgs", "tfp_lbfgs") else expected)


# TFP's line search takes seconds to trace.
@pytest.mark.parametrize(
    "method",
    representatives(
        [name for name in MINIMIZERS if not MINIMIZERS[name].NEEDS_RESIDUALS],
        ["lbfgs", "broyden", "bfgs"],
    ),
)
def test_methods_minimize_a_quartic(method):
    """`Minimizer` can use each row of the table: its states have the seven fields."""
    minimizer = quartic_minimizer(method)
    state = minimizer.begin(tf.ones(6, tf.float64), UNWEIGHTED)
    first = float(state.objective_value)
    state = minimizer.advance(state, 20, 1e-8, UNWEIGHTED)
    assert bool(state.converged) and not bool(state.failed)
    assert int(state.num_iterations) <= 20 <= 2 * int(state.num_objective_evaluations)
    np.testing.assert_array_equal(quartic(state.position)[0], state.objective_value)
    assert (
        float(state.objective_value) < first and max(abs(state.objective_gradient)) <= 1e-8
    )


@pytest.mark.parametrize("method", ["lbfgs", "broyden", "bfgs"])
def test_evaluations_are_counted(method):
    NUM_EVALUATIONS.assign(0)
    state = quartic_minimizer(method).begin(tf.fill([6], FAR), UNWEIGHTED)
    assert int(state.num_objective_evaluations) == int(NUM_EVALUATIONS) == 1
    state = quartic_minimizer(method).advance(state, 7, 0.0, UNWEIGHTED)
    assert int(state.num_objective_evaluations) == int(NUM_EVALUATIONS) > 7


def test_minimum_of_cubic_is_exact_for_cubics():
    a, b = -0.5, 3.0
    points = [tf.constant([t, t**3 - 3 * t, 3 * t**2 - 3], tf.float64) for t in (a, b)]
    # t^3 - 3t has its minimum at 1.
    assert float(line_search.minimum_of_cubic(*points)) == pytest.approx(1.0, abs=1e-14)


def value_and_slope(function, position):
    with tf.GradientTape() as tape:
        tape.watch(position)
        value = function(position[0])
    return value, tape.gradient(value, position)


def search_along(function, length):
    """Searches along the direction 1 from 0, and returns the start and the final state."""
    origin = tf.zeros(1, tf.float64)
    start = line_search.Evaluation(origin, *value_and_slope(function, origin))
    length = tf.constant(length, tf.float64)
    return start, line_search.search(
        lambda position: value_and_slope(function, position),
        start, tf.ones_like(origin), start.gradient[0], length,
    )  # fmt: skip


# A function of the step with its minimum at 1, and first steps; None if no step is acceptable.
SEARCHES = {
    "quadratic": (lambda t: (t - 1.0) ** 2, [1e-6, 1.0, 1e6]),
    "quartic": (lambda t: (t - 1.0) ** 4, [1e-3, 0.4, 30.0]),
    "NaN beyond 4": (lambda t: (t - 1.0) ** 2 - tf.math.log(4.0 - t), [0.1, 5.0, 100.0]),
    "without an end": (lambda t: -t, None),
    "jump up": (lambda t: tf.where(t > 0.0, 2.0 - t, -t), None),
}  # fmt: skip


# Slopes before and after a kink at 1.
@pytest.mark.parametrize("slopes", [(-1.0, 1.0), (-1.0, 0.6), (-0.1, 5.0)])
@pytest.mark.parametrize("length", [1e-3, 0.9, 1.5, 700.0])
def test_line_search_accepts_a_step_beyond_a_kink(slopes, length):
    """No slope is flat: a step is accepted if it is lower and no longer steep downhill."""
    before, after = slopes

    def kink(t):
        return tf.where(t < 1.0, before * t, before + after * (t - 1.0))

    start, result = search_along(kink, length)
    assert bool(result.is_good)
    assert float(result.latest.value) < float(start.value) and float(result.length) >= 1.0
    assert float(result.latest.gradient[0]) == after


@pytest.mark.parametrize("name", SEARCHES)
def test_line_search_returns_a_lower_and_flatter_step_or_fails(name):
    function, lengths = SEARCHES[name]
    for length in lengths or [1e-3, 1.0]:
        start, result = search_along(function, length)
        assert bool(result.is_good) == (lengths is not None)
        if lengths is not None:
            assert float(result.latest.position[0]) == float(result.length)
            assert float(result.latest.value) < float(start.value)
            assert abs(result.latest.gradient[0]) <= 0.5 * abs(start.gradient[0])


# First steps along (t - 1)^2, and the trials up to the exact cubic step. A trial is at most 10 times
# the one before, and its distance to a bound is at least a tenth of the interval.
EXPECTED_TRIALS = {
    1.0: [1.0],
    3.0: [3.0, 1.0],
    0.04: [0.04, 0.4, 1.0],
    20.0: [20.0, 2.0, 1.0],
}


@pytest.mark.parametrize("length", EXPECTED_TRIALS)
def test_line_search_tries_expected_steps(length):
    tried = []

    def function(t):
        tried.append(float(t))
        return (t - 1.0) ** 2

    _, result = search_along(function, length)
    assert bool(result.is_good)
    np.testing.assert_allclose(tried[1:], EXPECTED_TRIALS[length], rtol=1e-12)


# The noise of rounding in all values but that at the start, and whether the step is accepted.
ROUNDING_NOISE = {
    "1e-9": (1e-9, True),
    "1e-7": (1e-7, True),
    "more than rounding": (1e-5, False),
}


@pytest.mark.parametrize("name", ROUNDING_NOISE)
@pytest.mark.parametrize("value", [1.0, -3e8])
def test_line_search_uses_slopes_if_rounding_hides_the_decrease(name, value):
    """The slope is 1e-12 at the start and 0 at the end of the unit step."""
    noise, is_accepted = ROUNDING_NOISE[name]

    def function(t):
        hidden = noise * abs(value) * tf.cast(t > 0, t.dtype)
        return value + hidden + 0.5e-12 * (t - 1.0) ** 2

    _, result = search_along(function, 1.0)
    assert bool(result.is_good) == is_accepted
    if is_accepted:
        assert float(result.length) == 1.0 and int(result.num_trials) == 1


# The slope after a kink, relative to that before it. A step is accepted if it is not steeper uphill.
@pytest.mark.parametrize(
    ("ratio", "is_accepted"), [(-0.9, True), (-1.1, False), (-5.0, False)]
)
def test_line_search_rejects_steeper_slope_if_rounding_hides_decrease(ratio, is_accepted):
    slope = -1e-12

    def function(t):
        hidden = 1e-9 * tf.cast(t > 0, t.dtype)
        return 1.0 + hidden + slope * tf.where(t < 0.3, t, 0.3 + ratio * (t - 0.3))

    _, result = search_along(function, 1.0)
    assert bool(result.is_good) == is_accepted


SIZES = sorted({len(problem.start) for problem in PROBLEMS})


class Unknowns(keras.Model):
    """A model whose weights are the unknowns, and whose loss is the value of a problem.

    It has all problems with `size` unknowns, so that their fits share a traced program.
    """

    def __init__(self, size, dtype):
        super().__init__(dtype=dtype)
        self.problems = [problem for problem in PROBLEMS if len(problem.start) == size]
        self.unknowns = self.add_weight(shape=(size,), initializer="zeros", dtype=dtype)
        self.number = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False
        )
        self.built = True

    def begin(self, problem):
        self.number.assign(self.problems.index(problem))
        self.unknowns.assign(problem.start)

    def call(self, x):
        return x

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        x, number = map(tf.convert_to_tensor, (self.unknowns, self.number))
        values = [functools.partial(problem, x) for problem in self.problems]
        return tf.switch_case(number, values)


@functools.cache
def model_of_problems(size, dtype):
    model = Unknowns(size, dtype)
    model.compile()
    return model


def solve(problem, dtype, epochs):
    model = model_of_problems(len(problem.start), dtype)
    model.begin(problem)
    history = fit_lbfgs(
        model,
        np.zeros((1, 1)),
        epochs=epochs,
        steps_per_execution=epochs,
        num_correction_pairs=10,
        tolerance=TOLERANCE[dtype],
        # At some published starts, 1e-6 of the gradient is 1.
        relative=False,
        jit_compile=False,
        verbose=0,
    )
    return history.result, model.unknowns.numpy()


def value_and_gradient(problem, x):
    point = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = problem(point)
    return value, tape.gradient(value, point)


@each("problem", PROBLEMS)
def test_gradients_of_problems_equal_central_differences(problem):
    """Compares the gradient of each problem near its start with central differences."""
    x = np.array(problem.start) + 0.01
    value, gradient = value_and_gradient(problem, x)
    gradient = gradient.numpy()
    for i in range(len(x)):
        step = 1e-6 * max(abs(x[i]), 1.0)
        shift = step * np.eye(len(x))[i]
        upper, lower = (float(problem(tf.constant(x + sign * shift))) for sign in (1, -1))
        expected = (upper - lower) / (2 * step)
        # Rounding of the value, divided by the step.
        tolerance = 1e-5 * max(abs(expected), 1.0) + 1e-15 * abs(float(value)) / step * 4
        assert abs(gradient[i] - expected) <= tolerance


# Each size has a program of its own, which takes a second to trace.
@pytest.mark.parametrize("size", representatives(SIZES, [2, 5]))
def test_fit_solves_problems_in_float64(size):
    @each("problem", model_of_problems(size, "float64").problems)
    def solves(problem):
        result, solution = solve(problem, "float64", 500)
        value, gradient = value_and_gradient(problem, solution)
        assert result.success == (result.grad_norm <= TOLERANCE["float64"])
        # The reported numbers are those of the weights. Residuals r are rounded by 1e-16, and their
        # squares by 2e-16 r. With a gradient of 1e-6, r is at most 1e-7 near a zero.
        assert result.fun == pytest.approx(float(value), rel=1e-9, abs=1e-22)
        assert abs(result.grad_norm - float(tf.reduce_max(tf.abs(gradient)))) <= 1e-9
        assert problem.is_minimum(result.fun)

    solves()


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_fit_has_no_false_success_in_float32(size):
    @each("problem", model_of_problems(size, "float32").problems)
    def reports_success(problem):
        result, _ = solve(problem, "float32", 1000)
        assert result.success == (result.grad_norm <= TOLERANCE["float32"])
        assert result.success == (result.status == Status.TOLERANCE)
        assert result.fun <= float(problem(tf.constant(problem.start, tf.float32)))

    reports_success()


# Minimizers without a fit. Each has one program for problems of all sizes.


def problem_by_number(x, number):
    """Returns value and gradient of a problem; the slope by additional unknowns is 0."""

    def padded(problem):
        size = len(problem.start)
        value, gradient = value_and_gradient(problem, x[:size])
        return value, tf.pad(gradient, [[0, x.shape[0] - size]])

    return tf.switch_case(
        number, [functools.partial(padded, problem) for problem in PROBLEMS]
    )


@functools.cache
def minimizer_of_all_problems(method):
    return Minimizer(problem_by_number, method, 10, jit_compile=False)


def final_state(problem, method, dtype, num_iterations):
    """Returns the final state, after up to five restarts, as many as a fit has by default."""
    minimizer = minimizer_of_all_problems(method)
    number = tf.constant(PROBLEMS.index(problem))
    position = np.zeros(max(SIZES))
    position[: len(problem.start)] = problem.start
    for _ in range(6):
        state = minimizer.begin(tf.constant(position, dtype), number)
        state = minimizer.advance(state, num_iterations, TOLERANCE[dtype], number)
        if not state.failed:
            break
        position = state.position.numpy()
    return state


METHODS = ["lbfgs", "broyden", "bfgs"]


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "num_iterations"), [("float64", 500), ("float32", 200)])
@pytest.mark.parametrize("method", METHODS)
def test_minimizers_solve_problems_without_false_success(method, dtype, num_iterations):
    @each("problem", PROBLEMS)
    def solves(problem):
        state = final_state(problem, method, dtype, num_iterations)
        solution = state.position[: len(problem.start)].numpy()
        value, gradient = map(np.asarray, value_and_gradient(problem, solution))
        assert bool(state.converged) == (np.abs(gradient).max() <= TOLERANCE[dtype])
        start = float(problem(tf.constant(problem.start, dtype)))
        assert float(state.objective_value) <= start
        # In float32 some problems are not solved, and the state is not converged.
        if dtype == "float64":
            # The tolerances are those of the fits above.
            reported = float(state.objective_value)
            assert reported == pytest.approx(float(value), rel=1e-9, abs=1e-22)
            assert problem.is_minimum(float(value))

    solves()
