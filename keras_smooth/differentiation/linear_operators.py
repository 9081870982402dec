"""Sums of partial derivatives: linear operators, of which the Laplacian is one."""

import itertools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.differentiation import coefficients, engines, estimators, tasks
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.multi_indices import axes_of
from keras_smooth.differentiation.points import checked_points
from keras_smooth.differentiation.results import last, result
from keras_smooth.differentiation.verification import with_verification


@tf.autograph.experimental.do_not_convert
def laplacian(
    model: Callable,
    x: Any,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
    probes: int | None = None,
    seed: Any = None,
) -> Any:
    """Returns the sum of the second derivatives of each output along the axes of x.

    Args:
        model, x: As for `keras_smooth.derivatives`, with outputs of any shape.
        engine: `"jet"`, one forward pass whose work grows with d, or with the width of the
            first layer where that is below d / 2 (forward Laplacian), or `"tape"`, the
            trace of the Hessian; `"auto"` takes jets.
        batch_size: Number of samples at a time; None is all.
        wrt: As for `keras_smooth.derivatives`. The second derivatives are summed over all
            inputs that derivatives are taken by.
        verify: As for `keras_smooth.gradient`.
        probes, seed: As for `linear_operator`; an estimate is from so many directions of 1
            and -1, whatever the dimension.

    Returns:
        A tensor of the shape of y, or the structure of y. That of an estimate has the
        attribute `standard_error`, of its shape.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If x does not fit the model, the engine is unknown, or the derivative
            is lost on the way.

    Example:

    >>> import numpy as np, keras, keras_smooth
    >>> def squared_radius(x):
    ...     return keras.ops.sum(keras.ops.square(x), axis=-1)
    >>> x = np.array([[2.0, 3.0, 4.0]])
    >>> keras_smooth.laplacian(squared_radius, x, engine="tape").numpy()
    array([6.])

    References:
        Li et al., 2024, "A computational framework for neural network-based variational
        Monte Carlo with forward Laplacian", Nature Machine Intelligence 6.
    """
    points = checked_points(model, x, wrt)
    dim = sum(points.dims)
    drawn = estimators.checked_probes(probes, seed, verify)
    evaluation = Evaluation(tasks.laplacian(dim), model, points, engine, batch_size)
    if drawn is None:
        return last(evaluation, verify)
    return estimators.mean_along(evaluation, drawn.signs(dim, points.dtype), 2)


@tf.autograph.experimental.do_not_convert
def biharmonic(
    model: Callable,
    x: Any,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
    probes: int | None = None,
    seed: Any = None,
) -> Any:
    """Returns the Laplacian of the Laplacian of each output: the sum of all u_iijj.

    Args:
        model, x: As for `keras_smooth.derivatives`, with outputs of any shape.
        engine: `"jet"`, one forward pass of fourth order along as few directions as are known,
            3 for d = 2, 6 for 3, 16 for 5, and (d + 1) (d + 2) / 2 from 7 on; or `"tape"`,
            nested tapes; `"auto"` takes jets.
        batch_size, verify, wrt: As for `keras_smooth.laplacian`.
        probes, seed: As for `linear_operator`; an estimate is from so many directions of a
            sphere, whatever the dimension.

    Returns:
        A tensor of the shape of y, or the structure of y. That of an estimate has the
        attribute `standard_error`, of its shape.

    Raises:
        TypeError, ValueError: As `keras_smooth.laplacian`.

    Example:

    >>> import numpy as np, keras, keras_smooth
    >>> def radius_to_the_fourth(x):
    ...     return keras.ops.square(keras.ops.sum(keras.ops.square(x), axis=-1))
    >>> x = np.array([[2.0, 3.0, 4.0]])
    >>> float(keras_smooth.biharmonic(radius_to_the_fourth, x)[0].numpy().round(8))
    120.0

    References:
        Reznick, 1992, "Sums of even powers of real linear forms".
    """
    points = checked_points(model, x, wrt)
    dim = sum(points.dims)
    drawn = estimators.checked_probes(probes, seed, verify)
    if drawn is not None:
        evaluation = Evaluation(tasks.derivatives(0), model, points, engine, batch_size)
        directions = drawn.on_sphere(dim, points.dtype)
        return estimators.mean_along(evaluation, directions, 4, (dim + 2) / (3 * dim))
    pairs = itertools.combinations_with_replacement(range(dim), 2)
    form = tuple(((i, i, j, j), 1.0 if i == j else 2.0) for i, j in pairs)
    task = tasks.forms([form], ["biharmonic"], dim, tasks.jets)
    return last(Evaluation(task, model, points, engine, batch_size), verify)


@tf.autograph.experimental.do_not_convert
def linear_operator(
    model: Callable,
    x: Any,
    operator: Any,
    *,
    names: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
    probes: int | None = None,
    seed: Any = None,
) -> Any:
    """Returns a sum of partial derivatives of a model with coefficients.

    Derivatives of one order with constant coefficients are summed on the way: of a second
    order they cost one direction for each rank of the matrix of coefficients, and the last
    derivatives are those of one direction, however many there are.

    Args:
        model, x: As for `keras_smooth.derivatives`.
        operator: A dict of partial derivatives, as `keras_smooth.partials` has them, and
            coefficients: `{"xx": 1.0, "xy": 2.0, "": k**2}`. A coefficient is a number, a
            variable, an array or tensor of one number a sample, or of the shape of y, or a
            function of x that returns such. What is there under several orders of its letters
            is summed, so that both `"xy"` and `"yx"` of a matrix count.
        names: As for `keras_smooth.partials`.
        engine, batch_size, verify: As for `keras_smooth.partials`. Sums with constant
            coefficients are verified as such.
        probes: If it is given, an estimate: of the derivatives along all directions only so
            many, drawn at random without replacement. What it costs is that of the probes.
        seed: For probes: a whole number, for the same directions in each call, as a line
            search needs them; or a `keras.random.SeedGenerator`, for others in each call.

    Returns:
        A tensor of the shape of y, or the structure of y. That of an estimate has the
        attribute `standard_error`, of its shape.

    Raises:
        TypeError: If x does not hold floats, or an argument is of the wrong kind.
        ValueError: If x does not fit the model, a name or place does not exist, a coefficient
            does not fit y, the order is too high for the engine, a derivative is lost on the
            way, or the numbers cannot be verified.

    Example: Helmholtz' operator, u_xx + u_yy + 2 u, of u = sin(x) sin(y).

    >>> import keras, keras_smooth, numpy as np
    >>> def u(x):
    ...     return keras.ops.sin(x[:, :1]) * keras.ops.sin(x[:, 1:])
    >>> x = np.random.default_rng(0).normal(size=(5, 2))
    >>> helmholtz = {"xx": 1.0, "yy": 1.0, "": 2.0}
    >>> value = keras_smooth.linear_operator(u, x, helmholtz, names="xy")
    >>> bool(np.allclose(value, 0.0))
    True

    References:
        Dangel et al., 2025, "Collapsing Taylor mode automatic differentiation".
    """
    points = checked_points(model, x)
    axes = axes_of(points, names)
    drawn = estimators.checked_probes(probes, seed, verify)
    terms = coefficients.checked_terms(axes, operator, points)
    order = max(len(term.index) for term in terms)
    engines.checked_derivatives(order, engine, 1, "The highest order in `operator`")
    points, axes, indices = axes.restricted(points, [term.index for term in terms])
    weighted = coefficients.grouped(axes, indices, terms)
    forms, words = zip(*((each.form, each.word) for each in weighted))
    task = tasks.forms(forms, words, axes.dim)
    evaluation = Evaluation(task, model, points, engine, batch_size)
    if drawn is not None:
        return estimators.sum_of(evaluation, weighted, drawn)
    values = result(evaluation, verify)
    return with_verification(coefficients.summed(weighted, values[1:]), values)
