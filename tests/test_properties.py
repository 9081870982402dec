"""Properties of the operators and of checkpoints, on cases that hypothesis draws.

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

# The same cases in every run, and no files.
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
    def places(self) -> dict[str, list[int]]:
        """Where each input is among all axes."""
        ends = itertools.accumulate(
            (self.dims[name] for name in sorted(self.dims)), initial=0
        )
        pairs = itertools.pairwise(ends)
        return {name: list(range(*pair)) for name, pair in zip(sorted(self.dims), pairs)}

    def __call__(self, x):
        """The function, of a dict or of the one input."""
        together = ops.concatenate([x[name] for name in sorted(x)], axis=-1)
        factors = ops.cast(self.factors.T, self.dtype)
        waves = ops.sin(ops.matmul(together, factors) + ops.cast(self.shifts, self.dtype))
        return ops.matmul(waves, ops.cast(self.sizes, self.dtype))

    @property
    def shifts(self) -> np.ndarray:
        return self.numbers(8, 3)

    @property
    def sizes(self) -> np.ndarray:
        return self.numbers(9, 3, self.num_outputs)

    def partial(self, *axes: int) -> np.ndarray:
        """Returns the exact derivative by some axes, `(batch, outputs)`."""
        together = np.concatenate(
            [self.points[name] for name in sorted(self.dims)], axis=-1
        )
        phase = together.astype("float64") @ self.factors.T + self.shifts
        waves = np.sin(phase + len(axes) * np.pi / 2) * self.factors[:, axes].prod(axis=1)
        return waves @ self.sizes

    def assert_equal(self, found, *places: list[int]) -> None:
        """Compares derivatives by inputs, of which those of one number add no axis."""
        exact = np.stack(
            [self.partial(*axes) for axes in itertools.product(*places)], axis=-1
        )
        added = [len(place) for place in places if len(place) > 1]
        assert tuple(found.shape) == (self.num_rows, self.num_outputs, *added)
        assert keras.backend.standardize_dtype(found.dtype) == self.dtype
        tolerance = TOLERANCE[self.dtype] * max(1.0, np.abs(exact).max())
        np.testing.assert_allclose(
            np.reshape(found, exact.shape), exact, rtol=0, atol=tolerance
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
def test_derivatives_by_some_inputs_are_those_of_the_closed_form(function, engine, data):
    names = sorted(function.dims)
    some = data.draw(
        strategies.lists(strategies.sampled_from(names), min_size=1, unique=True).map(
            sorted
        )
    )
    wrt, by = data.draw(
        strategies.sampled_from([(None, names), (some, some), (some[0], some[:1])])
    )
    places = [function.places[name] for name in by]
    arguments = {"wrt": wrt, "engine": engine}
    x = function.points
    y, dy, d2y = keras_smooth.derivatives(function, x, 2, **arguments)
    function.assert_equal(y)
    for found in (dy, keras_smooth.jacobian(function, x, **arguments)):
        for entry, place in zip(tree.flatten(found), places, strict=True):
            function.assert_equal(entry, place)
    for found in (d2y, keras_smooth.hessian(function, x, **arguments)):
        pairs = itertools.product(places, repeat=2)
        for entry, pair in zip(tree.flatten(found), pairs, strict=True):
            function.assert_equal(entry, *pair)
    found = keras_smooth.laplacian(function, x, **arguments)
    axes = list(itertools.chain(*places))
    exact = sum(function.partial(axis, axis) for axis in axes)
    tolerance = TOLERANCE[function.dtype] * max(1.0, np.abs(exact).max())
    np.testing.assert_allclose(found, exact, rtol=0, atol=tolerance)


@drawn
@given(function=waves, engine=engines, data=strategies.data())
def test_partial_derivatives_of_any_axes_are_those_of_the_closed_form(
    function, engine, data
):
    axes = [
        (name, number, place)
        for name in sorted(function.dims)
        for number, place in enumerate(function.places[name])
    ]
    indices = data.draw(
        strategies.lists(
            strategies.lists(strategies.sampled_from(axes), min_size=1, max_size=3),
            min_size=1, max_size=3, unique_by=lambda index: tuple(sorted(index)),
        )
    )  # fmt: skip
    # Axes of the only input are numbers.
    is_one = len(function.dims) == 1
    which = [
        tuple(number if is_one else (name, number) for name, number, _ in index)
        for index in indices
    ]
    x, points = function, function.points
    y, *found = keras_smooth.partials(x, points, which, engine=engine)
    function.assert_equal(y)
    exact = [function.partial(*(place for *_, place in index)) for index in indices]
    for entry, right in zip(found, exact, strict=True):
        # Jets have mixed ones from differences of sums, which cancel two digits.
        tolerance = 100 * TOLERANCE[function.dtype] * max(1.0, np.abs(right).max())
        np.testing.assert_allclose(entry, right, rtol=0, atol=tolerance)
    operator = {index: 0.5 + number for number, index in enumerate(which)}
    value = keras_smooth.linear_operator(x, points, operator, engine=engine)
    right = sum((0.5 + number) * entry for number, entry in enumerate(exact))
    tolerance = 100 * TOLERANCE[function.dtype] * max(1.0, np.abs(right).max())
    np.testing.assert_allclose(value, right, rtol=0, atol=tolerance)


class Broken(keras.callbacks.Callback):
    """Raises at the end of a chunk, before it is saved."""

    def __init__(self, chunk):
        super().__init__()
        self.left = chunk

    def on_epoch_end(self, epoch, logs=None):
        if not self.left:
            raise MemoryError
        self.left -= 1


def end(model):
    weights = [weight.tobytes() for weight in model.get_weights()]
    return weights, model.history.epoch, model.history.history


@drawn
@given(
    epochs=strategies.integers(2, 12),
    steps=strategies.integers(1, 4),
    method=strategies.sampled_from(["lbfgs", "bfgs"]),
    chunk=strategies.integers(0, 11),
)
def test_a_fit_that_breaks_off_anywhere_goes_on_bit_for_bit(epochs, steps, method, chunk):
    arguments = {"epochs": epochs, "steps_per_execution": steps, "method": method}
    num_chunks = -(-epochs // steps)
    model = at_start()
    fit(model, **arguments)
    undisturbed = end(model)
    with tempfile.TemporaryDirectory() as directory:
        arguments["checkpoint"] = f"{directory}/fit"
        with pytest.raises(MemoryError):
            fit(at_start(), **arguments, callbacks=[Broken(chunk % num_chunks)])
        fit(at_start(), **arguments)
    assert end(model) == undisturbed
