"""Resampling: the points of an objective are drawn anew during a fit."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_smooth.checks import finite_number, function, real_array, shown, whole_number
from keras_smooth.lbfgs.data import data_reader
from keras_smooth.lbfgs.data.micro_batches import shapes_and_dtypes
from keras_smooth.lbfgs.data.training_data import ObjectivePoints, TrainingData
from keras_smooth.presentation.counts import counted


@dataclasses.dataclass(frozen=True)
class Resample:
    """Draws new points for `fit_lbfgs(objective=...)` every `every` iterations.

    After a draw the minimizer continues from the current weights. A dense inverse Hessian (of
    `"broyden"` and `"bfgs"`, and of `"lbfgs"` for few weights) is kept if it gives a descent
    direction on the new points. Pairs are not kept: benchmarks/resample.py compares both. The
    loss in the logs is that of the current points, so that it jumps at a draw.

    Args:
        draw: `draw(model, x, generator)` returns the new x, with the shapes of the old one.
            The model is the one that `objective` receives, x has the current tensors, and
            `generator` is a new `numpy.random.Generator` for every draw. A run continues from a
            checkpoint bit for bit if `draw` depends on these arguments only.
        every: Number of iterations between draws, less than that of the fit. An empty memory needs
            some hundred iterations to fill.
        seed: Seed of the generators.

    Raises:
        TypeError: If `draw` is not a function, or `every` or `seed` is not an integer.
        ValueError: If a number is out of range.

    Example:

    >>> import keras, keras_smooth, numpy as np
    >>> def residual(model, x):
    ...     return keras_smooth.laplacian(model, x) + 1.0
    >>> def draw(model, x, generator):
    ...     pool = generator.uniform(size=(1000, 1))
    ...     return keras_smooth.choose_by_residual(pool, residual(model, pool), len(x), generator)
    >>> model = keras.Sequential([keras.Input((1,), dtype="float64")])
    >>> model.add(keras_smooth.Dense(4, "tanh", dtype="float64"))
    >>> model.add(keras_smooth.Dense(1, dtype="float64", use_bias=False))
    >>> history = keras_smooth.fit_lbfgs(
    ...     model,
    ...     np.linspace(0.0, 1.0, 20)[:, None],
    ...     objective=lambda model, x: keras.ops.mean(residual(model, x) ** 2),
    ...     resample=keras_smooth.Resample(draw, every=10),
    ...     epochs=30,
    ...     jit_compile=False,
    ...     verbose=0,
    ... )
    >>> history.result.nit
    30

    References:
        Wu et al., 2023, "A comprehensive study of non-adaptive and residual-based adaptive
        sampling for physics-informed neural networks", Computer Methods in Applied
        Mechanics and Engineering 403.
    """

    draw: Callable
    every: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        function("`draw`", self.draw, "model", "x", "generator")
        whole_number("`every`", self.every, 1)
        whole_number("`seed`", self.seed, 0)

    def drawn(
        self, model: keras.Model, points: TrainingData, nit: int, dtype: str
    ) -> ObjectivePoints:
        """Returns the points that `draw` returns at an iteration, validated.

        Args:
            model: The model that the objective receives.
            points: The points before the draw.
            nit: The number of the iteration.
            dtype: The dtype to which floats are cast.

        Returns:
            Points with the shapes of the old ones.

        Raises:
            ValueError: If the new points have other shapes or dtypes than the old ones, are
                empty or not finite.
            TypeError: If `draw` does not return arrays of numbers.
        """
        # The seed includes the iteration, so that a resumed run needs no state of earlier draws.
        generator = np.random.default_rng([self.seed, nit])
        options = data_reader.ReadOptions(dtype, strings=data_reader.accepts_strings(model))
        drawn = self.draw(model, points.parts[0], generator)
        x = data_reader.read_points(drawn, options, "draw(...)")
        received, expected = (shapes_and_dtypes(data.parts[0]) for data in (x, points))
        if received != expected:
            raise ValueError(
                f"`draw` of `resample` returned {received}, but x is {expected}. The compiled "
                "program needs one form: return arrays with the shapes and dtypes of x."
            )
        return x


def choose_by_residual(
    points: Any,
    residual: Any,
    num_points: int,
    generator: np.random.Generator,
    *,
    power: float = 1.0,
    offset: float = 1.0,
) -> np.ndarray:
    """Chooses points at random, more of them where the residual is large.

    A point is drawn with a probability proportional to `e / mean(e) + offset` with
    `e = |residual|^power`, and no point is drawn twice.

    Args:
        points: Candidates, an array of floats of shape `(n, dim)`, with n much larger than
            `num_points`, such as 20 times.
        residual: Residual of the equation at the candidates, of shape `(n,)`, or `(n, m)` to
            use the norms of the rows.
        num_points: How many points to choose.
        generator: A `numpy.random.Generator`.
        power: The k of Wu et al.; 0 is a uniform distribution.
        offset: The c of Wu et al.; larger values are closer to a uniform distribution.

    Returns:
        Array of shape `(num_points, dim)`.

    Raises:
        ValueError: If the residual is not finite or has another number of rows, or a number
            is out of range.
        TypeError: If `num_points`, `power` or `offset` is not a number.

    Example:

    >>> import keras_smooth, numpy as np
    >>> x = np.linspace(0.0, 1.0, 1001)[:, None]
    >>> generator = np.random.default_rng(0)
    >>> chosen = keras_smooth.choose_by_residual(x, x**8, 100, generator, offset=0.0)
    >>> chosen.shape, bool(np.mean(chosen > 0.5) > 0.95)
    ((100, 1), True)

    References:
        Wu et al., 2023, "A comprehensive study of non-adaptive and residual-based adaptive
        sampling for physics-informed neural networks", Computer Methods in Applied
        Mechanics and Engineering 403, equation 2 (RAD).
    """
    points = _finite_rows("`points`", points)
    residual = _finite_rows("`residual`", residual).astype(float)
    if not isinstance(generator, np.random.Generator):
        raise TypeError(
            "`generator` must be a numpy.random.Generator, as numpy.random.default_rng(0) makes "
            f"it; received {shown(generator)}."
        )
    finite_number("`power`", power, 0)
    finite_number("`offset`", offset, 0)
    whole_number("`num_points`", num_points, 1)
    if len(residual) != len(points) or len(points) < num_points:
        raise ValueError(
            f"Received {len(points)} `points` and a `residual` of {counted(len(residual), 'row')}, of which "
            f"`num_points`={num_points} shall be chosen. Pass a residual for each of many points."
        )
    sizes = np.linalg.norm(residual.reshape(len(points), -1), axis=1) ** power
    if not np.all(np.isfinite(sizes)):
        raise ValueError(
            "`residual` must be finite, also to the `power`, but it has inf or NaN in it."
        )
    # If the residual is 0 everywhere, the distribution is uniform.
    density = sizes / sizes.mean() + offset if sizes.any() else np.ones(len(points))
    density = density / density.sum()
    return points[generator.choice(len(points), num_points, replace=False, p=density)]


def _finite_rows(name: str, values: Any) -> np.ndarray:
    """Returns values as a finite array that has rows."""
    array = real_array(name, values)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{name} must have rows, received shape {array.shape}.")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, but has inf or NaN in it.")
    return array
