"""Properties of operators and checkpoints, tested by hypothesis on random cases.

The reference is a closed form: y_m = sum_k c_km sin(w_k.x + b_k), whose partial derivative by the
axes i, j, ... is a sum of the same kind with the factor w_ki w_kj ....
"""

import dataclasses
import itertools
import tempfile

import keras
import numpy as np
import pytest
from hypothesis import given, settings, strategies
from keras import ops, tree
from lbfgs_nets import at_start, fit

import keras_smooth

# The same cases in every run, without a database on disk.
drawn = settings(derandomize=True, deadline=None, database=None, max_examples=20)

# Sums of a few numbers below 2^6: rounding, some hundred times.
TOLERANCE = {"float64": 1e-12, "float32": 1e-4}


@dataclasses.dataclass(frozen=True, eq=False)
class Waves:
    """A function of inputs with names, and its derivatives by all their axes together."""

    dims: dict[str, int]
    num_outputs: int
    num_rows: int
    dtype: str

    def numbers(self, seed: int, *shape: int) -> np.ndarray:
        return np.random.default_rng(seed).uniform(-1.5, 1.5, shape)

    @property
    def factors(self) -> np.ndarray:
        return self.numbers(1, 3, sum(self.dims.values()))

    @property
    def points(self) -> dict[str, np.ndarray]:
        return {
            name: self.numbers(2 + number, self.num_rows, dim).astype(self.dtype)
            for number, (name, dim) in enumerate(sorted(self.dims.items()))
        }

    @property
    def axes_of(self) -> dict[str, list[int]]:
        """The indices of the axes of each input among all axes."""
        ends = itertools.accumulate(
            (self.dims[name] for name in sorted(self.dims)), initial=0
        )
        pairs = itertools.pairwise(ends)
        return {name: list(range(*pair)) for name, pair in zip(sorted(self.dims), pairs)}

    def __call__(self, x):
        """Returns the outputs for a dict of inputs."""
        joined = ops.concatenate([x[name] for name in sorted(x)], axis=-1)
        factors = ops.cast(self.factors.T, self.dtype)
        waves = ops.sin(ops.matmul(joined, factors) + ops.cast(self.shifts, self.dtype))
        return ops.matmul(waves, ops.cast(self.sizes, self.dtype))

    @property
    def shifts(self) -> np.ndarray:
        return self.numbers(8, 3)

    @property
    def sizes(self) -> np.ndarray:
        return self.numbers(9, 3, self.num_outputs)

    def partial(self, *axes: int) -> np.ndarray:
        """Returns the exact derivative by some axes, `(batch, outputs)`."""
        joined = np.concatenate([self.points[name] for name in sorted(self.dims)], axis=-1)
        phase = joined.astype("float64") @ self.factors.T + self.shifts
        waves = np.sin(phase + len(axes) * np.pi / 2) * self.factors[:, axes].prod(axis=1)
        return waves @ self.sizes

    def assert_equal(self, entry, *axes_of_inputs: list[int]) -> None:
        """Compares derivatives by inputs; inputs of one number add no axis."""
        exact = np.stack(
            [self.partial(*axes) for axes in itertools.product(*axes_of_inputs)], axis=-1
        )
        added = [
            len(axes_of_input) for axes_of_input in axes_of_inputs if len(axes_of_input) > 1
        ]
        assert tuple(entry.shape) == (self.num_rows, self.num_outputs, *added)
        assert keras.backend.standardize_dtype(entry.dtype) == self.dtype
        tolerance = TOLERANCE[self.dtype] * max(1.0, np.abs(exact).max())
        np.testing.assert_allclose(
            np.reshape(entry, exact.shape), exact, rtol=0, atol=tolerance
        )


waves = strategies.builds(
    Waves,
    dims=strategies.dictionaries(
        strategies.sampled_from("xyt"), strategies.integers(1, 3), min_size=1
    ),
    num_outputs=strategies.integers(1, 2),
    num_rows=strategies.integers(1, 3),
    dtype=strategies.sampled_from(sorted(TOLERANCE)),
)
engines = strategies.sampled_from(["auto", "jet", "tape"])


@drawn
@given(function=waves, engine=engines, data=strategies.data())
def test_derivatives_by_some_inputs_equal_the_closed_form(function, engine, data):
    names = sorted(function.dims)
    subset = data.draw(
        strategies.lists(strategies.sampled_from(names), min_size=1, unique=True).map(
            sorted
        )
    )
    wrt, names_of_wrt = data.draw(
        strategies.sampled_from([(None, names), (subset, subset), (subset[0], subset[:1])])
    )
    axes_of_inputs = [function.axes_of[name] for name in names_of_wrt]
    arguments = {"wrt": wrt, "engine": engine}
    x = function.points
    y, dy, d2y = keras_smooth.derivatives(function, x, 2, **arguments)
    function.assert_equal(y)
    for values in (dy, keras_smooth.jacobian(function, x, **arguments)):
        for entry, axes in zip(tree.flatten(values), axes_of_inputs, strict=True):
            function.assert_equal(entry, axes)
    for values in (d2y, keras_smooth.hessian(function, x, **arguments)):
        pairs = itertools.product(axes_of_inputs, repeat=2)
        for entry, pair in zip(tree.flatten(values), pairs, strict=True):
            function.assert_equal(entry, *pair)
    values = keras_smooth.laplacian(function, x, **arguments)
    all_axes = list(itertools.chain(*axes_of_inputs))
    exact = sum(function.partial(axis, axis) for axis in all_axes)
    tolerance = TOLERANCE[function.dtype] * max(1.0, np.abs(exact).max())
    np.testing.assert_allclose(values, exact, rtol=0, atol=tolerance)


@drawn
@given(function=waves, engine=engines, data=strategies.data())
def test_partial_derivatives_by_any_axes_equal_the_closed_form(function, engine, data):
    axes = [
        (name, number, axis)
        for name in sorted(function.dims)
        for number, axis in enumerate(function.axes_of[name])
    ]
    indices = data.draw(
        strategies.lists(
            strategies.lists(strategies.sampled_from(axes), min_size=1, max_size=3),
            min_size=1, max_size=3, unique_by=lambda index: tuple(sorted(index)),
        )
    )  # fmt: skip
    # The axes of a single input have no input name.
    is_single = len(function.dims) == 1
    which = [
        tuple(number if is_single else (name, number) for name, number, _ in index)
        for index in indices
    ]
    x, points = function, function.points
    y, *entries = keras_smooth.partials(x, points, which, engine=engine)
    function.assert_equal(y)
    exact = [function.partial(*(axis for *_, axis in index)) for index in indices]
    for entry, expected in zip(entries, exact, strict=True):
        # Jets compute mixed derivatives as differences of sums, which cancel two digits.
        tolerance = 100 * TOLERANCE[function.dtype] * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(entry, expected, rtol=0, atol=tolerance)
    operator = {index: 0.5 + number for number, index in enumerate(which)}
    value = keras_smooth.linear_operator(x, points, operator, engine=engine)
    expected = sum((0.5 + number) * entry for number, entry in enumerate(exact))
    tolerance = 100 * TOLERANCE[function.dtype] * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance)


class RaisesAtChunk(keras.callbacks.Callback):
    """Raises an error at the end of a chunk, before the chunk is saved."""

    def __init__(self, chunk):
        super().__init__()
        self.chunks_left = chunk

    def on_epoch_end(self, epoch, logs=None):
        if not self.chunks_left:
            raise MemoryError
        self.chunks_left -= 1


def final_state(model):
    weights = [weight.tobytes() for weight in model.get_weights()]
    return weights, model.history.epoch, model.history.history


@drawn
@given(
    epochs=strategies.integers(2, 12),
    steps=strategies.integers(1, 4),
    method=strategies.sampled_from(["lbfgs", "bfgs"]),
    chunk=strategies.integers(0, 11),
)
def test_interrupted_fit_resumes_bit_for_bit(epochs, steps, method, chunk):
    arguments = {"epochs": epochs, "steps_per_execution": steps, "method": method}
    num_chunks = -(-epochs // steps)
    model = at_start()
    fit(model, **arguments)
    uninterrupted = final_state(model)
    with tempfile.TemporaryDirectory() as directory:
        arguments["checkpoint"] = f"{directory}/fit"
        with pytest.raises(MemoryError):
            fit(at_start(), **arguments, callbacks=[RaisesAtChunk(chunk % num_chunks)])
        fit(at_start(), **arguments)
    assert final_state(model) == uninterrupted
