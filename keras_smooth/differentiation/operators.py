"""Derivatives of a model's outputs with respect to its inputs."""

import itertools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.checks import truth
from keras_smooth.differentiation import engines, tasks
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.points import Points, checked_directions, checked_points
from keras_smooth.differentiation.results import result
from keras_smooth.differentiation.verification import with_verification


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
        A tuple of `order + 1` tensors: y, y', y'', ... With `verify=True` it has an
        attribute `verification`.

        - y has the shape `(batch, ...)` of the model's output.
        - Where a sample of x is one number, as with x of shape `(batch, 1)`, every
          derivative has the shape of y.
        - Otherwise each derivative appends the shape of a sample: with x of shape
          `(batch, d)` and y of shape `(batch, m)`, y' is `(batch, m, d)` and y'' is
          `(batch, m, d, d)`.
        - With several outputs each entry has the structure of y; with several inputs
          each derivative puts the structure of those it is taken by in the place of the
          tensor: `dy["out"]["in"]`, `d2y["out"]["in"]["in"]`.

        The dtype is that of the model's output.

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
    order = engines.checked_derivatives(order, engines.checked_engine(engine), least)
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
        A tensor of the shape of x; for several inputs the structure of those that
        derivatives are taken by.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If a sample of the output is not one number, x does not fit the
            model, the engine is unknown, or the derivative is lost on the way.

    Example:

    >>> import numpy as np, keras_smooth
    >>> keras_smooth.gradient(lambda x: x[:, 0] * x[:, 1], np.array([[2.0, 3.0]])).numpy()
    array([[3., 2.]])
    """
    points, found = _first(model, x, wrt, engine, batch_size, verify)
    y, slopes = found
    check_one_number("gradient", y)
    flat = zip(keras.tree.flatten(slopes), points.moving, strict=True)
    gradients = [tf.reshape(d, (-1, *x.shape[1:])) for d, x in flat]
    return points.structured(with_verification(gradients, found))


def check_one_number(name: str, y: Any) -> None:
    """Raises if the output of a model is more than one number a sample."""
    if keras.tree.is_nested(y) or y.shape[1:].num_elements() != 1:
        shapes = keras.tree.map_structure(lambda tensor: tuple(tensor.shape[1:]), y)
        raise ValueError(
            f"{name} needs one output number a sample, received outputs of shape {shapes}. "
            "Take keras_smooth.jacobian."
        )


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
        A tensor of the shape of y with the shape of a sample of x behind it: `(batch, m,
        d)`, also where m or d is 1; structures as for `derivatives`.

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
    points, found = _first(model, x, wrt, engine, batch_size, verify)
    y, slopes = found
    return with_verification(_written_out(points, y, slopes, 1), found)


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
        A tensor of the shape of y with twice the shape of a sample of x behind it:
        `(batch, m, d, d)`, also where m or d is 1; structures as for `derivatives`.

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
    engines.checked_engine(engine)
    evaluation = Evaluation(tasks.derivatives(2), model, points, engine, batch_size)
    found = result(evaluation, verify)
    return with_verification(_written_out(points, found[0], found[2], 2), found)


def _first(
    model: Callable, x: Any, wrt: Any, engine: str, batch_size: int | None, verify: bool
) -> tuple:
    """Returns the points; and y and y'."""
    points = checked_points(model, x, wrt)
    engines.checked_engine(engine)
    evaluation = Evaluation(tasks.jacobian(), model, points, engine, batch_size)
    return points, result(evaluation, verify)


def _written_out(points: Points, y: Any, values: Any, order: int) -> Any:
    """Returns derivatives of one order with the axes of x, also where these are of size 1."""
    shapes = itertools.product(
        [tuple(tensor.shape[1:]) for tensor in keras.tree.flatten(y)],
        *[[tuple(tensor.shape[1:]) for tensor in points.moving]] * order,
    )
    flat = zip(keras.tree.flatten(values), shapes, strict=True)
    written = [tf.reshape(value, (-1, *sum(parts, ()))) for value, parts in flat]
    return keras.tree.pack_sequence_as(values, written)


def with_laplacian(
    model: Callable,
    x: Any,
    *,
    wrt: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    training: bool = False,
) -> tuple:
    """Returns y, y' and the Laplacian together, with the arguments of `laplacian`."""
    points = checked_points(model, x, wrt)
    engines.checked_engine(engine)
    task = tasks.with_laplacian()
    evaluation = Evaluation(task, model, points, engine, batch_size, training)
    return result(evaluation, False)


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
    order = engines.checked_derivatives(order, engines.checked_engine(engine), least=1)
    points = checked_points(model, x, wrt)
    directions = checked_directions(points, direction)
    task = tasks.directional(order)
    evaluation = Evaluation(task, model, points, engine, batch_size, directions=directions)
    return result(evaluation, verify)
