"""Linear operators, which are sums of partial derivatives, such as the Laplacian."""

import itertools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.differentiation import coefficients, engines, estimators, tasks
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.multi_indices import named_axes
from keras_smooth.differentiation.points import checked_points
from keras_smooth.differentiation.results import last_entry, result
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
        model: A Keras model or layer, or a function of tensors. Its outputs may have any
            shape.
        x: Points, finite floats of shape `(batch, ...)`, or a list, tuple or dict of such
            arrays for a model with several inputs. They are cast to the dtype of the model.
        wrt: The inputs to differentiate with respect to, by name or index. The others are
            held fixed. None uses all inputs of floats. The sum is over all numbers of these
            inputs.
        engine: `"jet"` is one forward pass, whose cost grows with d, or with the width of
            the first layer if that is below d / 2 (forward Laplacian). `"tape"` computes
            the trace of the Hessian. `"auto"` uses jets. See `keras_smooth.derivatives`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. Each tensor then has the
            attribute `verification`.
        probes: Number of random directions of 1 and -1, for an estimate whose cost does not
            depend on the dimension. None computes the exact value.
        seed: An integer uses the same directions in each call, as a line search needs; a
            `keras.random.SeedGenerator` draws others in each call. Only with `probes`.

    Returns:
        A tensor with the shape, structure and dtype of y. An estimate has the attribute
        `standard_error`, a tensor of the same shape.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If x does not fit the model, the engine is unknown, `probes` or `seed`
            is out of range or combined with `verify=True`, the derivative is lost (the
            message names the layers), or the numbers cannot be verified.

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
    random_probes = estimators.checked_probes(probes, seed, verify)
    evaluation = Evaluation(tasks.laplacian(dim), model, points, engine, batch_size)
    if random_probes is None:
        return last_entry(evaluation, verify)
    return estimators.mean_along(evaluation, random_probes.signs(dim, points.dtype), 2)


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
        model: A Keras model or layer, or a function of tensors. Its outputs may have any
            shape.
        x: Points, finite floats of shape `(batch, ...)`, or a list, tuple or dict of such
            arrays for a model with several inputs. They are cast to the dtype of the model.
        wrt: The inputs to differentiate with respect to, by name or index. The others are
            held fixed. None uses all inputs of floats. The sum is over all pairs of numbers
            of these inputs.
        engine: `"jet"` is one forward pass of fourth order along few directions: 3 for d =
            2, 6 for 3, 16 for 5, and (d + 1) (d + 2) / 2 for others. `"tape"` nests tapes.
            `"auto"` uses jets. See `keras_smooth.derivatives`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. Each tensor then has the
            attribute `verification`.
        probes: Number of random directions on a sphere, for an estimate whose cost does not
            depend on the dimension. None computes the exact value.
        seed: An integer uses the same directions in each call, as a line search needs; a
            `keras.random.SeedGenerator` draws others in each call. Only with `probes`.

    Returns:
        A tensor with the shape, structure and dtype of y. An estimate has the attribute
        `standard_error`, a tensor of the same shape.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If x does not fit the model, the engine is unknown, `probes` or `seed`
            is out of range or combined with `verify=True`, the derivative is lost (the
            message names the layers), or the numbers cannot be verified.

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
    random_probes = estimators.checked_probes(probes, seed, verify)
    if random_probes is not None:
        evaluation = Evaluation(tasks.derivatives(0), model, points, engine, batch_size)
        directions = random_probes.on_sphere(dim, points.dtype)
        return estimators.mean_along(evaluation, directions, 4, (dim + 2) / (3 * dim))
    pairs = itertools.combinations_with_replacement(range(dim), 2)
    form = tuple(((i, i, j, j), 1.0 if i == j else 2.0) for i, j in pairs)
    task = tasks.forms([form], ["biharmonic"], dim, tasks.always_jets)
    return last_entry(Evaluation(task, model, points, engine, batch_size), verify)


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

    Derivatives of one order with constant coefficients are summed inside the forward pass.
    Second derivatives need as many directions as the rank of their matrix of coefficients,
    and only the sum of the highest derivatives is carried.

    Args:
        model: A Keras model or layer, or a function of tensors. Its outputs may have any
            shape.
        x: Points, finite floats of shape `(batch, ...)`, or a list, tuple or dict of such
            arrays for a model with several inputs. They are cast to the dtype of the model.
        operator: A dict of partial derivatives, written as for `keras_smooth.partials`, and
            coefficients: `{"xx": 1.0, "xy": 2.0, "": k**2}`. A coefficient is a number, a
            variable, an array or tensor with one number for each sample or with the shape
            of y, or a function of x that returns one of these. Entries with the same
            letters in another order are added, so that `"xy"` and `"yx"` of a matrix both
            count.
        names: Names of the columns of x, as for `keras_smooth.partials`.
        engine: `"jet"` sums derivatives with constant coefficients inside the forward pass;
            `"tape"` nests tapes. `"auto"` uses the cheaper one.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. Sums with constant
            coefficients are compared as sums.
        probes: Number of directions, drawn at random without replacement from those that
            the exact value needs, for an estimate. None computes the exact value.
        seed: An integer uses the same directions in each call, as a line search needs; a
            `keras.random.SeedGenerator` draws others in each call. Only with `probes`.

    Returns:
        A tensor with the shape, structure and dtype of y. An estimate has the attribute
        `standard_error`, a tensor of the same shape.

    Raises:
        TypeError: If x does not hold floats, or an argument has the wrong type.
        ValueError: If x does not fit the model, a name or index does not exist, a
            coefficient does not fit y, the order is too high for the engine, a derivative
            is lost (the message names the layers), or the numbers cannot be verified.

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
    axes = named_axes(points, names)
    random_probes = estimators.checked_probes(probes, seed, verify)
    indices, factors = coefficients.checked_terms(axes, operator, points)
    order = max(map(len, indices))
    engines.checked_derivatives(order, engine, 1, "The highest order in `operator`")
    points, axes, indices = axes.restricted(points, indices)
    weighted = coefficients.weighted_forms(axes, operator, indices, factors)
    forms, words = zip(*((term.form, term.word) for term in weighted))
    task = tasks.forms(forms, words, sum(points.dims))
    evaluation = Evaluation(task, model, points, engine, batch_size)
    if random_probes is not None:
        return estimators.sum_of_forms(evaluation, weighted, random_probes)
    values = result(evaluation, verify)
    return with_verification(coefficients.weighted_sum(weighted, values[1:]), values)
