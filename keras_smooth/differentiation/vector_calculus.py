"""Divergence, curl and kin: operators on vector fields and along vectors."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.differentiation import estimators, tasks
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.linear_operators import laplacian
from keras_smooth.differentiation.points import Points, checked_directions, checked_points
from keras_smooth.differentiation.results import in_place_of_y, last, result
from keras_smooth.differentiation.verification import with_verification
from keras_smooth.models import checked_inputs, own_call


@tf.autograph.experimental.do_not_convert
def divergence(
    model: Callable,
    x: Any,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
    probes: int | None = None,
    seed: Any = None,
) -> tf.Tensor:
    """Returns the divergence of a vector field: the sum of dy_i / dx_i.

    Args:
        model, x: As for `keras_smooth.derivatives`, with y of the shape of x.
        wrt: The name or place of the input that counts as x, where there are several.
        engine: `"jet"`, one forward pass along all axes, or `"tape"`, a reverse sweep for each
            output; `"auto"` takes jets.
        batch_size, verify: As for `keras_smooth.derivatives`.
        probes, seed: As for `keras_smooth.linear_operator`; an estimate is from so many
            directions of 1 and -1.

    Returns:
        A tensor of shape `(batch, 1)`, with as many axes as y has, all but the first of size 1.
        That of an estimate has the attribute `standard_error`.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If y has not the shape of x, or as for `keras_smooth.jacobian`.

    Example:

    >>> import keras_smooth, numpy as np
    >>> field = lambda x: x**2
    >>> keras_smooth.divergence(field, np.array([[2.0, 3.0, 4.0]])).numpy()
    array([[18.]])
    """
    points = _field_points(model, x, wrt)
    drawn = estimators.checked_probes(probes, seed, verify)
    if drawn is not None:
        return _estimated(model, points, drawn, engine, batch_size)
    values = _first_partials(model, points, engine, batch_size, verify)
    diagonal = [flat[:, axis] for axis, flat in enumerate(map(_flat, values[1:]))]
    return with_verification(_of_one_number(tf.add_n(diagonal), values[0]), values)


def _estimated(
    model: Callable, points: Points, drawn: tf.Tensor, engine: str, batch_size: int | None
) -> tf.Tensor:
    """Returns the mean of v . (J v) over directions v."""
    signs = drawn.signs(sum(points.dims), points.dtype)
    task = tasks.along_each(signs, 1)
    y, *values = result(Evaluation(task, model, points, engine, batch_size), False)
    _check_field(y, points)
    products = [
        _of_one_number(tf.reduce_sum(_flat(value) * tf.cast(v, value.dtype), axis=1), y)
        for value, v in zip(values, tf.unstack(signs))
    ]
    return estimators.mean_of(products)


@tf.autograph.experimental.do_not_convert
def curl(
    model: Callable,
    x: Any,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
) -> tf.Tensor:
    """Returns the curl of a vector field in two or three dimensions.

    Args:
        model, x: As for `keras_smooth.derivatives`, with x and y of shape `(batch, 2)` or
            `(batch, 3)`.
        wrt, engine, batch_size, verify: As for `keras_smooth.divergence`.

    Returns:
        A tensor of shape `(batch, 3)`; in two dimensions `(batch, 1)`, dy_2 / dx_1 -
        dy_1 / dx_2.

    Raises:
        TypeError, ValueError: As `keras_smooth.divergence`, and if there are not two or three
            numbers a sample.

    Example: a rotation with the angular velocity 2.

    >>> import keras_smooth, numpy as np
    >>> field = lambda x: 2.0 * x[:, ::-1] * np.array([-1.0, 1.0])
    >>> keras_smooth.curl(field, np.array([[2.0, 3.0]])).numpy()
    array([[4.]])
    """
    points = _field_points(model, x, wrt)
    dim = sum(points.dims)
    if dim not in _CURLS or points.moving[0].shape.rank != 2:
        raise ValueError(
            "curl needs x of shape (batch, 2) or (batch, 3), received "
            f"{tuple(points.moving[0].shape)}."
        )
    values = _first_partials(model, points, engine, batch_size, verify)
    slopes = values[1:]
    columns = [slopes[i][:, j] - slopes[j][:, i] for i, j in _CURLS[dim]]
    return with_verification(tf.stack(columns, axis=1), values)


# For each component of a curl i and j, with it dy_j / dx_i - dy_i / dx_j.
_CURLS = {2: [(0, 1)], 3: [(1, 2), (2, 0), (0, 1)]}


@tf.autograph.experimental.do_not_convert
def advection(
    model: Callable,
    x: Any,
    velocity: Any,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
) -> Any:
    """Returns the derivative of each output along a velocity: (velocity . grad) y.

    Args:
        model, x: As for `keras_smooth.derivatives`, with outputs of any shape.
        velocity: Of the shape of x, or of a sample of x; or a function of x that returns
            such, as a model does.
        wrt, engine, batch_size, verify: As for `keras_smooth.directional`.

    Returns:
        A tensor of the shape of y, or the structure of y.

    Raises:
        TypeError, ValueError: As `keras_smooth.directional`.

    Example:

    >>> import keras_smooth, numpy as np
    >>> field = lambda x: x**2
    >>> keras_smooth.advection(field, np.array([[2.0, 3.0]]), [1.0, -1.0]).numpy()
    array([[ 4., -6.]])
    """
    points = checked_points(model, x, wrt)
    direction = checked_directions(
        points, _called("`velocity`", velocity, points), "`velocity`"
    )
    task = tasks.directional(1)
    evaluation = Evaluation(task, model, points, engine, batch_size, directions=direction)
    return last(evaluation, verify)


@tf.autograph.experimental.do_not_convert
def hessian_vector_product(
    model: Callable,
    x: Any,
    vector: Any,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
) -> Any:
    """Returns the Hessian times a vector, of a model with one output number a sample.

    Args:
        model, x: As for `keras_smooth.derivatives`.
        vector: Of the shape of x, or of a sample of x for one that all share; or a function of
            x that returns such.
        engine: `"tape"`, two reverse sweeps whatever the dimension, or `"jet"`, one forward
            pass along two directions for each number of x; `"auto"` takes tapes unless these
            are known to be wrong.
        wrt, batch_size, verify: As for `keras_smooth.gradient`.

    Returns:
        A tensor of the shape of x; for several inputs the structure of those that derivatives
        are taken by.

    Raises:
        TypeError, ValueError: As `keras_smooth.gradient`, and if the vector does not fit x.

    Example:

    >>> import keras_smooth, numpy as np
    >>> def product(x):
    ...     return x[:, 0] * x[:, 1] ** 2
    >>> x = np.array([[2.0, 3.0]])
    >>> keras_smooth.hessian_vector_product(product, x, [1.0, 1.0], engine="tape").numpy()
    array([[ 6., 10.]])

    References:
        Pearlmutter, 1994, "Fast exact multiplication by the Hessian".
    """
    points = checked_points(model, x, wrt)
    directions = checked_directions(points, _called("`vector`", vector, points), "`vector`")
    task = tasks.hessian_vector_product()
    evaluation = Evaluation(task, model, points, engine, batch_size, directions=directions)
    return in_place_of_y("hessian_vector_product", "hessian", evaluation, verify)


@tf.autograph.experimental.do_not_convert
def vector_laplacian(
    model: Callable,
    x: Any,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
) -> Any:
    """Returns the Laplacian of each component of a vector field, in Cartesian coordinates.

    It is `keras_smooth.laplacian` for y of the shape of x.

    Args:
        model, x: As for `keras_smooth.derivatives`, with y of the shape of x.
        wrt, engine, batch_size, verify: As for `keras_smooth.laplacian`.

    Returns:
        A tensor of the shape of y.

    Raises:
        TypeError, ValueError: As `keras_smooth.divergence`.

    Example:

    >>> import keras_smooth, numpy as np
    >>> field = lambda x: x**2
    >>> keras_smooth.vector_laplacian(field, np.array([[2.0, 3.0]])).numpy()
    array([[2., 2.]])
    """
    points = _field_points(model, x, wrt)
    value = laplacian(
        model, x, wrt=wrt, engine=engine, batch_size=batch_size, verify=verify
    )
    _check_field(value, points)
    return value


def _field_points(model: Callable, x: Any, wrt: Any) -> Points:
    """Returns points of one input, by which a field is differentiated."""
    points = checked_points(model, x, wrt)
    if len(points.moving) > 1:
        raise ValueError(
            f"`x` has {len(points.moving)} inputs of floats, {shown(list(points.names))}; a "
            "vector field is one of one input. Name it with wrt=, or join them in one array."
        )
    return points


def _check_field(y: Any, points: Points) -> None:
    x = points.moving[0]
    if keras.tree.is_nested(y) or not y.shape.is_compatible_with(x.shape):
        shape = keras.tree.map_structure(lambda tensor: tuple(tensor.shape), y)
        raise ValueError(
            "`model` must be a vector field, with outputs of the shape of x, "
            f"{tuple(x.shape)}; it returns {shape}."
        )


def _first_partials(
    model: Callable, points: Points, engine: str, batch_size: Any, verify: bool
) -> tuple:
    """Returns y, which has to be a vector field, and its derivatives by each number of x."""
    dim = sum(points.dims)
    forms = [(((axis,), 1.0),) for axis in range(dim)]
    task = tasks.forms(forms, [f"by {axis}" for axis in range(dim)], dim, tasks.jets)
    values = result(Evaluation(task, model, points, engine, batch_size), verify)
    _check_field(values[0], points)
    return values


def _flat(value: tf.Tensor) -> tf.Tensor:
    return tf.reshape(value, (-1, math.prod(value.shape[1:])))


def _of_one_number(value: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Returns `(batch,)` with as many axes as y has, so that nothing broadcasts it to more."""
    return tf.reshape(value, (-1, *[1] * (like.shape.rank - 1)))


def _called(name: str, vector: Any, points: Points) -> Any:
    """Returns a vector, or what a function or model makes of x."""
    if not callable(vector):
        return vector
    checked_inputs.check_callable(vector, name)
    return own_call.call(vector, checked_inputs.tensors(vector, points.x))
