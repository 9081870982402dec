"""Derivatives of a model's outputs with respect to its inputs."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.checks import truth
from keras_smooth.differentiation import engines, tasks
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.points import (
    checked_directions,
    checked_points,
    sample_axes,
)
from keras_smooth.differentiation.results import in_place_of_y, last, result


# Keras itself calls layers without AutoGraph; it would try to convert this file as well.
@tf.autograph.experimental.do_not_convert
def derivatives(
    model: Callable,
    x: Any,
    order: int = 2,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    training: bool = False,
    verify: bool = False,
) -> tuple:
    """Returns y, y', y'' and so on of a model at the points x.

    The samples of a batch must not influence each other: what is returned is the
    derivative of every sample's output with respect to its own input.

    A loss of derivatives has gradients by the weights, as any other. `tf.stop_gradient` on a
    weight in the model stops these with all engines; on what depends on x it stops the
    derivatives by x with the engine `"tape"` only.

    Args:
        model: A Keras model or layer, or a function of tensors.
        x: Points, finite floats of shape `(batch, ...)`; for a model with several inputs
            a list, tuple or dict of such arrays. They are cast to the dtype of the
            model's variables. Inputs of integers or text are held fixed.
        order: Number of derivatives, 0 or more; up to 6 with the engine `"jet"`.
        wrt: The inputs with respect to which to differentiate, if there are several: the name
            or index of one, for derivatives with the structure of that one; or a list of
            them. The others are held fixed. None is all inputs of floats.
        engine: How to compute them. `"tape"` nests `tf.GradientTape`: it uses stopped and
            custom gradients, and raises an error if TensorFlow loses a derivative. `"jet"` is
            Taylor mode: one forward pass carries all orders through the operations that
            TensorFlow traces, and differentiates the function that these compute. `"auto"`
            uses the faster one for the task, and Taylor mode if TensorFlow is known to have
            no gradient or a wrong one, as of bilinear images, or of `ops.prod` at factors of
            0. Up to 32 numbers per sample it does so also if the next order is lost or wrong,
            which a loss of derivatives needs; beyond these, such a loss is an error. A model
            that cannot be traced, or an operation without a rule, is differentiated by nested
            tapes, with one warning. Functions with breakpoints have the derivatives of the
            branch that a point is on, so that y'' of a ReLU is 0; `audit` finds them. If no
            path leads from x to y, the derivative is 0 with `"auto"` and `"jet"`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None is
            all. On a CPU, 10,000 samples of one number, or 1000 of ten, fit into the caches.
        training: Whether layers such as Dropout run in training mode. Those that mix the
            samples of a batch there, as BatchNormalization, are an error.
        verify: Whether to compare all numbers with differences of the model itself, and
            to return them only where they agree; see `keras_smooth.Verification`. That
            takes the work of about a hundred forward passes for each direction. It goes with
            training=False only.

    Returns:
        A tuple of `order + 1` tensors: y, y', y'', ..., in the dtype of the model's output.
        Each has the shape of y, with that of a sample of x behind it once for each order, of
        which one number adds no axes: the docstring of `keras_smooth` has the rule, also for
        several inputs and outputs. With `verify=True` the tuple has an attribute
        `verification`.

    Raises:
        TypeError: If x does not hold floats or `order` is not an integer.
        ValueError: If x is empty, not finite or of the wrong shape, `wrt` names no input,
            `order` is out of range, the engine is unknown, the model is not built, its
            output for a sample depends on other samples, a derivative is lost on the way
            (the message names the layers at fault), or the numbers cannot be verified.

    Example:

    >>> import numpy as np, keras_smooth
    >>> y, dy, d2y = keras_smooth.derivatives(lambda x: x**3, np.array([[2.0]]))
    >>> float(y[0, 0]), float(dy[0, 0]), float(d2y[0, 0])
    (8.0, 12.0, 12.0)
    """
    least = 1 if truth("`verify`", verify) else 0
    order = engines.checked_derivatives(order, engine, least)
    training = truth("`training`", training)
    points = checked_points(model, x, wrt)
    task = tasks.derivatives(order)
    evaluation = Evaluation(task, model, points, engine, batch_size, training)
    return result(evaluation, verify)


@tf.autograph.experimental.do_not_convert
def gradient(
    model: Callable,
    x: Any,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
) -> Any:
    """Returns the gradient of a model with one output number a sample.

    Args:
        model, x: As for `derivatives`.
        engine: `"tape"`, one reverse sweep whatever the dimension, or `"jet"`; `"auto"`
            takes tapes unless these are known to be wrong.
        batch_size: Number of samples at a time, which bounds the memory. None is all.
        wrt: As for `derivatives`.
        verify: As for `derivatives`. Each tensor has the attribute `verification`.

    Returns:
        What `derivatives` returns as y', in the shape of x; for several inputs the structure
        of those that derivatives are taken by.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If a sample of the output is not one number, x does not fit the
            model, the engine is unknown, or the derivative is lost on the way.

    Example:

    >>> import numpy as np, keras_smooth
    >>> keras_smooth.gradient(lambda x: x[:, 0] * x[:, 1], np.array([[2.0, 3.0]])).numpy()
    array([[3., 2.]])
    """
    points = checked_points(model, x, wrt)
    evaluation = Evaluation(tasks.derivatives(1), model, points, engine, batch_size)
    return in_place_of_y("gradient", "jacobian", evaluation, verify)


@tf.autograph.experimental.do_not_convert
def jacobian(
    model: Callable,
    x: Any,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
) -> Any:
    """Returns the first derivatives of all outputs by all inputs.

    Args:
        model, x: As for `gradient`, with outputs of any shape.
        engine: `"tape"`, a reverse sweep for each output, or `"jet"`, one forward pass
            with a direction for each input; `"auto"` takes tapes unless these are known to
            be wrong.
        batch_size: Number of samples at a time; None is all.
        wrt, verify: As for `gradient`.

    Returns:
        What `derivatives` returns as y': a tensor of the shape of y with that of a sample of x
        behind it, `(batch, m, d)`.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If x does not fit the model, the engine is unknown, or the derivative
            is lost on the way.

    Example:

    >>> import numpy as np, keras_smooth
    >>> keras_smooth.jacobian(lambda x: x**2, np.array([[2.0, 3.0]])).numpy()
    array([[[4., 0.],
            [0., 6.]]])
    """
    points = checked_points(model, x, wrt)
    evaluation = Evaluation(tasks.derivatives(1), model, points, engine, batch_size)
    return last(evaluation, verify)


@tf.autograph.experimental.do_not_convert
def hessian(
    model: Callable,
    x: Any,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
) -> Any:
    """Returns the second derivatives of all outputs by all pairs of inputs.

    Args:
        model, x: As for `gradient`, with outputs of any shape.
        engine: `"tape"`, or `"jet"`, one forward pass with d (d + 1) / 2 directions;
            `"auto"` takes jets where d is 1 or tapes are known to be wrong.
        batch_size: Number of samples at a time; None is all.
        wrt, verify: As for `gradient`.

    Returns:
        What `derivatives` returns as y'': a tensor of the shape of y with twice that of a
        sample of x behind it, `(batch, m, d, d)`.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If x does not fit the model, the engine is unknown, or the derivative
            is lost on the way.

    Example:

    >>> import numpy as np, keras_smooth
    >>> hessian = keras_smooth.hessian(
    ...     lambda x: x[:, 0] * x[:, 1] ** 2, np.array([[2.0, 3.0]])
    ... )
    >>> bool(np.allclose(hessian, [[[0.0, 6.0], [6.0, 4.0]]]))
    True
    """
    points = checked_points(model, x, wrt)
    evaluation = Evaluation(tasks.derivatives(2), model, points, engine, batch_size)
    return last(evaluation, verify)


def with_laplacian(
    model: Callable,
    x: Any,
    *,
    engine: str = "auto",
    training: bool = False,
) -> tuple:
    """Returns y, y' and the Laplacian together, for one input."""
    points = checked_points(model, x)
    task = tasks.laplacian(sum(points.dims), slopes=True)
    y, *slopes, laplacian = result(
        Evaluation(task, model, points, engine, training=training), False
    )

    def behind(tensor: tf.Tensor, *columns: tf.Tensor) -> tf.Tensor:
        shape = (-1, *tensor.shape[1:], *sample_axes(points.moving[0]))
        return tf.reshape(tf.stack(columns, axis=-1), shape)

    return y, keras.tree.map_structure(behind, y, *slopes), laplacian


@tf.autograph.experimental.do_not_convert
def directional(
    model: Callable,
    x: Any,
    direction: Any,
    order: int = 1,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
) -> tuple:
    """Returns y and its derivatives along a direction: those of y(x + t v) at t = 0.

    Args:
        model, x: As for `gradient`, with outputs of any shape.
        direction: v, of the shape of x, or of a sample of x for one that all share; for
            several inputs in the structure of those that derivatives are taken by.
        order: Number of derivatives, 1 or more; up to 6 with the engine `"jet"`.
        engine: `"jet"`, one forward pass, or `"tape"`, nested tapes over t; `"auto"` takes
            jets.
        batch_size: Number of samples at a time; None is all.
        wrt, verify: As for `derivatives`.

    Returns:
        A tuple of `order + 1` tensors of the shape of y.

    Raises:
        TypeError: If x does not hold floats or `order` is not an integer.
        ValueError: If x or the direction does not fit, `order` is out of range, the
            engine is unknown, or a derivative is lost on the way.

    Example:

    >>> import numpy as np, keras_smooth
    >>> def product(x):
    ...     return x[:, 0] * x[:, 1]
    >>> x = np.array([[2.0, 3.0]])
    >>> y, dy, d2y = keras_smooth.directional(product, x, [1.0, 1.0], 2, engine="tape")
    >>> float(y[0]), float(dy[0]), float(d2y[0])
    (6.0, 5.0, 2.0)
    """
    order = engines.checked_derivatives(order, engine, least=1)
    points = checked_points(model, x, wrt)
    directions = checked_directions(points, direction)
    task = tasks.directional(order)
    evaluation = Evaluation(task, model, points, engine, batch_size, directions=directions)
    return result(evaluation, verify)
