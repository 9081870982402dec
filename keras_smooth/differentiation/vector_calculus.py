"""Divergence, curl and other operators on vector fields or along vectors."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.differentiation import estimators, tasks
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.multi_indices import of_order
from keras_smooth.differentiation.passes import partials
from keras_smooth.differentiation.points import Points, checked_directions, checked_points
from keras_smooth.differentiation.results import in_shape_of_x, last_entry, result
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
        model: A Keras model or layer, or a function of tensors. Its output has the shape of
            x.
        x: Points, finite floats of the shape of y, such as `(batch, d)`. They are cast to
            the dtype of the model.
        wrt: The name or index of the input that counts as x, if there are several. The
            others are held fixed.
        engine: `"jet"` is one forward pass along all axes; `"tape"` is a reverse sweep for
            each output number. `"auto"` uses jets. See `keras_smooth.derivatives`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. The tensor then has the
            attribute `verification`.
        probes: Number of random directions of 1 and -1, for an estimate whose cost does not
            depend on the dimension. None computes the exact value.
        seed: An integer uses the same directions in each call, as a line search needs; a
            `keras.random.SeedGenerator` draws others in each call. Only with `probes`.

    Returns:
        A tensor of shape `(batch, 1)` in the dtype of y, with as many axes as y. An
        estimate has the attribute `standard_error`, a tensor of the same shape.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If y does not have the shape of x, x does not fit the model, the engine
            is unknown, the derivative is lost (the message names the layers), or the
            numbers cannot be verified.

    Example:

    >>> import keras_smooth, numpy as np
    >>> field = lambda x: x**2
    >>> keras_smooth.divergence(field, np.array([[2.0, 3.0, 4.0]])).numpy()
    array([[18.]])
    """
    points = _field_points(model, x, wrt)
    random_probes = estimators.checked_probes(probes, seed, verify)
    if random_probes is None:
        values = _first_partials(model, points, engine, batch_size, verify)
        diagonal = [flat[:, axis] for axis, flat in enumerate(map(_flat, values[1:]))]
        return with_verification(_with_axes_of(values[0], tf.add_n(diagonal)), values)
    # The mean of v . (J v) over random directions v.
    signs = random_probes.signs(sum(points.dims), points.dtype)
    task = tasks.along_each(signs, 1)
    y, *slopes = result(Evaluation(task, model, points, engine, batch_size), False)
    _check_field(y, points)
    products = [
        _with_axes_of(y, tf.reduce_sum(_flat(slope) * tf.cast(v, slope.dtype), axis=1))
        for slope, v in zip(slopes, tf.unstack(signs))
    ]
    return estimators.mean_of_values(products)


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
        model: A Keras model or layer, or a function of tensors. Its output has the shape of
            x.
        x: Points, finite floats of shape `(batch, 2)` or `(batch, 3)`. They are cast to the
            dtype of the model.
        wrt: The name or index of the input that counts as x, if there are several. The
            others are held fixed.
        engine: `"jet"` is one forward pass along all axes; `"tape"` is a reverse sweep for
            each output number. `"auto"` uses jets. See `keras_smooth.derivatives`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. The tensor then has the
            attribute `verification`.

    Returns:
        A tensor in the dtype of y, of shape `(batch, 3)`, or in two dimensions `(batch,
        1)`, dy_2 / dx_1 - dy_1 / dx_2.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If x does not have two or three columns, y does not have the shape of x,
            the engine is unknown, the derivative is lost (the message names the layers), or
            the numbers cannot be verified.

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
    columns = [values[1 + i][:, j] - values[1 + j][:, i] for i, j in _CURLS[dim]]
    return with_verification(tf.stack(columns, axis=1), values)


# For each component of a curl: i and j of dy_j / dx_i - dy_i / dx_j.
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
        model: A Keras model or layer, or a function of tensors. Its outputs may have any
            shape.
        x: Points, finite floats of shape `(batch, ...)`, or a list, tuple or dict of such
            arrays for a model with several inputs. They are cast to the dtype of the model.
        velocity: An array with the shape of x, or of one sample of x, or a function or
            model that returns such an array for x.
        wrt: The inputs to differentiate with respect to, by name or index. The others are
            held fixed. None uses all inputs of floats.
        engine: `"jet"` is one forward pass; `"tape"` uses a tape. `"auto"` uses jets. See
            `keras_smooth.derivatives`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. Each tensor then has the
            attribute `verification`.

    Returns:
        A tensor with the shape, structure and dtype of y.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If x or `velocity` does not fit the model, the engine is unknown, the
            derivative is lost (the message names the layers), or the numbers cannot be
            verified.

    Example:

    >>> import keras_smooth, numpy as np
    >>> field = lambda x: x**2
    >>> keras_smooth.advection(field, np.array([[2.0, 3.0]]), [1.0, -1.0]).numpy()
    array([[ 4., -6.]])
    """
    points = checked_points(model, x, wrt)
    directions = _vector_at_points("`velocity`", velocity, points)
    task = tasks.directional(1)
    evaluation = Evaluation(task, model, points, engine, batch_size, directions=directions)
    return last_entry(evaluation, verify)


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
        model: A Keras model or layer, or a function of tensors. Its output has one number
            for each sample.
        x: Points, finite floats of shape `(batch, ...)`, or a list, tuple or dict of such
            arrays for a model with several inputs. They are cast to the dtype of the model.
        vector: An array with the shape of x, or with the shape of one sample of x for a
            vector that all samples share, or a function of x that returns such an array.
        wrt: The inputs to differentiate with respect to, by name or index. The others are
            held fixed. None uses all inputs of floats.
        engine: `"tape"` is two reverse sweeps, whatever the dimension; `"jet"` is one
            forward pass with two directions for each number of x. `"auto"` uses tapes
            unless TensorFlow's derivatives are known to be wrong. See
            `keras_smooth.derivatives`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. Each tensor then has the
            attribute `verification`.

    Returns:
        A tensor with the shape of x and the dtype of y. For several inputs, the structure
        of the inputs in `wrt`.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If the output of a sample is not one number, x or `vector` does not fit
            the model, the engine is unknown, the derivative is lost (the message names the
            layers), or the numbers cannot be verified.

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
    directions = _vector_at_points("`vector`", vector, points)
    task = tasks.hessian_vector_product()
    evaluation = Evaluation(task, model, points, engine, batch_size, directions=directions)
    return in_shape_of_x("hessian_vector_product", "hessian", evaluation, verify)


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
        model: A Keras model or layer, or a function of tensors. Its output has the shape of
            x.
        x: Points, finite floats of the shape of y, `(batch, d)`. They are cast to the dtype
            of the model.
        wrt: The name or index of the input that counts as x, if there are several. The
            others are held fixed.
        engine: `"jet"` is one forward pass; `"tape"` computes the trace of the Hessian.
            `"auto"` uses jets. See `keras_smooth.derivatives`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. The tensor then has the
            attribute `verification`.

    Returns:
        A tensor with the shape and dtype of y.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If y does not have the shape of x, x does not fit the model, the engine
            is unknown, the derivative is lost (the message names the layers), or the
            numbers cannot be verified.

    Example:

    >>> import keras_smooth, numpy as np
    >>> field = lambda x: x**2
    >>> keras_smooth.vector_laplacian(field, np.array([[2.0, 3.0]])).numpy()
    array([[2., 2.]])
    """
    points = _field_points(model, x, wrt)
    task = tasks.laplacian(sum(points.dims))
    value = last_entry(Evaluation(task, model, points, engine, batch_size), verify)
    _check_field(value, points)
    return value


def _field_points(model: Callable, x: Any, wrt: Any) -> Points:
    """Returns points of one input, with respect to which a field is differentiated."""
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
    """Returns y, a vector field, and its derivatives with respect to each number of x."""
    dim = sum(points.dims)
    words = [f"by {axis}" for axis in range(dim)]
    task = tasks.forms(partials(of_order(dim, 1)), words, dim, tasks.always_jets)
    values = result(Evaluation(task, model, points, engine, batch_size), verify)
    _check_field(values[0], points)
    return values


def _flat(value: tf.Tensor) -> tf.Tensor:
    return tf.reshape(value, (-1, math.prod(value.shape[1:])))


def _with_axes_of(y: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Returns one number for each sample, `(batch,)`, with axes of length 1 as many as y has.

    So `(batch,)` and `(batch, 1)` cannot broadcast to `(batch, batch)`.
    """
    return tf.reshape(value, (-1, *[1] * (y.shape.rank - 1)))


def _vector_at_points(name: str, vector: Any, points: Points) -> tuple[tf.Tensor, ...]:
    """Returns a vector for each moving input, from an array, or a function or model of x."""
    if callable(vector):
        checked_inputs.check_callable(vector, name)
        vector = own_call.call(vector, checked_inputs.tensors(vector, points.x))
    return checked_directions(points, vector, name)
