"""Derivatives of a model's outputs with respect to its inputs."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.checks import boolean
from keras_smooth.differentiation import engines, tasks
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.points import (
    checked_directions,
    checked_points,
    sample_axes,
)
from keras_smooth.differentiation.results import in_shape_of_x, last_entry, result


# AutoGraph would try to convert this file; Keras itself calls layers without AutoGraph.
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

    The output for a sample must depend only on that sample: the result is the derivative of
    each sample's output with respect to its own input.

    A loss of derivatives has gradients with respect to the weights, as any other loss. A
    `tf.stop_gradient` on a weight stops them with all engines. A `tf.stop_gradient` on a value
    that depends on x stops the derivatives with respect to x with the engine `"tape"` only.

    Args:
        model: A Keras model or layer, or a function of tensors.
        x: Points, finite floats of shape `(batch, ...)`, or a list, tuple or dict of such
            arrays for a model with several inputs. They are cast to the dtype of the
            model's variables. Inputs of integers or text are held fixed.
        order: Number of derivatives, 0 or more; up to 6 with the engine `"jet"`.
        wrt: The inputs to differentiate with respect to, if there are several. The name or
            index of one returns derivatives with the structure of that input; a list returns
            those of several. The others are held fixed. None uses all inputs of floats.
        engine: How to compute the derivatives. `"tape"` nests `tf.GradientTape`. It uses
            stopped and custom gradients, and raises an error if TensorFlow loses a
            derivative. `"jet"` is Taylor mode: one forward pass carries all orders through
            the operations that TensorFlow traces, and differentiates the function that they
            compute. `"auto"` uses the faster engine, and Taylor mode if TensorFlow is known
            to have no gradient or a wrong one, as for bilinear resizing, or for `ops.prod` at
            factors of 0. For up to 32 numbers per sample it also does so if the next order is
            lost or wrong, since a loss of derivatives needs it; for more numbers, such a loss
            raises an error. A model that cannot be traced, or an operation without a rule, is
            differentiated by nested tapes, with one warning. At a breakpoint of a function,
            the derivatives are those of one of its branches: y'' of a ReLU is 0. `audit`
            finds such functions. If no path leads from x to y, the derivative is 0 with
            `"auto"` and `"jet"`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all. On a CPU, 10,000 samples of one number, or 1000 of ten, fit into the
            caches.
        training: Whether layers such as Dropout run in training mode. Layers that mix the
            samples of a batch in that mode, such as BatchNormalization, raise an error.
        verify: Whether to compare all numbers with differences of the model, and to raise
            an error if they differ. See `keras_smooth.Verification`. This costs about a
            hundred forward passes for each direction. It needs `training=False`, and works
            outside of `tf.function` only.

    Returns:
        A tuple of `order + 1` tensors y, y', y'', ... in the dtype of the model's output.
        The shape of each is that of y, followed by the shape of a sample of x once for each
        order; a sample of one number adds no axes. For y of shape `(batch, m)` and x of shape
        `(batch, d)`, y'' has the shape `(batch, m, d, d)`. The docstring of `keras_smooth`
        has the rule for several inputs and outputs. With `verify=True` the tuple has the
        attribute `verification`.

    Raises:
        TypeError: If x does not hold floats or `order` is not an integer.
        ValueError: If x is empty, not finite or of the wrong shape, `wrt` names no input,
            `order` is out of range, the engine is unknown, the model is not built, its
            output for a sample depends on other samples, a derivative is lost (the message
            names the layers), or the numbers cannot be verified.

    Example:

    >>> import numpy as np, keras_smooth
    >>> y, dy, d2y = keras_smooth.derivatives(lambda x: x**3, np.array([[2.0]]))
    >>> float(y[0, 0]), float(dy[0, 0]), float(d2y[0, 0])
    (8.0, 12.0, 12.0)
    """
    least = 1 if boolean("`verify`", verify) else 0
    order = engines.checked_derivatives(order, engine, least)
    training = boolean("`training`", training)
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
        model: A Keras model or layer, or a function of tensors. Its output has one number
            for each sample.
        x: Points, finite floats of shape `(batch, ...)`, or a list, tuple or dict of such
            arrays for a model with several inputs. They are cast to the dtype of the model.
        wrt: The inputs to differentiate with respect to, by name or index. The others are
            held fixed. None uses all inputs of floats.
        engine: `"tape"` is one reverse sweep, whatever the dimension; `"jet"` is Taylor
            mode. `"auto"` uses tapes unless TensorFlow's derivatives are known to be wrong.
            See `keras_smooth.derivatives`.
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
        ValueError: If the output of a sample is not one number, x does not fit the model,
            the engine is unknown, the derivative is lost (the message names the layers), or
            the numbers cannot be verified.

    Example:

    >>> import numpy as np, keras_smooth
    >>> keras_smooth.gradient(lambda x: x[:, 0] * x[:, 1], np.array([[2.0, 3.0]])).numpy()
    array([[3., 2.]])
    """
    points = checked_points(model, x, wrt)
    evaluation = Evaluation(tasks.derivatives(1), model, points, engine, batch_size)
    return in_shape_of_x("gradient", "jacobian", evaluation, verify)


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
    """Returns the first derivatives of all outputs with respect to all inputs.

    Args:
        model: A Keras model or layer, or a function of tensors. Its outputs may have any
            shape.
        x: Points, finite floats of shape `(batch, ...)`, or a list, tuple or dict of such
            arrays for a model with several inputs. They are cast to the dtype of the model.
        wrt: The inputs to differentiate with respect to, by name or index. The others are
            held fixed. None uses all inputs of floats.
        engine: `"tape"` is a reverse sweep for each output number; `"jet"` is one forward
            pass with a direction for each number of x. `"auto"` uses tapes unless
            TensorFlow's derivatives are known to be wrong. See `keras_smooth.derivatives`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. Each tensor then has the
            attribute `verification`.

    Returns:
        The y' of `keras_smooth.derivatives`, in the dtype of y: a tensor of shape `(batch,
        m, d)` for y of shape `(batch, m)` and x of shape `(batch, d)`.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If x does not fit the model, the engine is unknown, the derivative is
            lost (the message names the layers), or the numbers cannot be verified.

    Example:

    >>> import numpy as np, keras_smooth
    >>> keras_smooth.jacobian(lambda x: x**2, np.array([[2.0, 3.0]])).numpy()
    array([[[4., 0.],
            [0., 6.]]])
    """
    points = checked_points(model, x, wrt)
    evaluation = Evaluation(tasks.derivatives(1), model, points, engine, batch_size)
    return last_entry(evaluation, verify)


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
    """Returns the second derivatives of all outputs with respect to all pairs of inputs.

    Args:
        model: A Keras model or layer, or a function of tensors. Its outputs may have any
            shape.
        x: Points, finite floats of shape `(batch, ...)`, or a list, tuple or dict of such
            arrays for a model with several inputs. They are cast to the dtype of the model.
        wrt: The inputs to differentiate with respect to, by name or index. The others are
            held fixed. None uses all inputs of floats.
        engine: `"tape"` nests tapes; `"jet"` is one forward pass with d (d + 1) / 2
            directions. `"auto"` uses jets if d is 1 or TensorFlow's derivatives are known
            to be wrong. See `keras_smooth.derivatives`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. Each tensor then has the
            attribute `verification`.

    Returns:
        The y'' of `keras_smooth.derivatives`, in the dtype of y: a tensor of shape `(batch,
        m, d, d)` for y of shape `(batch, m)` and x of shape `(batch, d)`.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If x does not fit the model, the engine is unknown, the derivative is
            lost (the message names the layers), or the numbers cannot be verified.

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
    return last_entry(evaluation, verify)


def with_laplacian(
    model: Callable, x: Any, *, engine: str = "auto", training: bool = False
) -> tuple:
    """Returns y, y' and the Laplacian together, for one input."""
    points = checked_points(model, x)
    task = tasks.laplacian(sum(points.dims), slopes=True)
    y, *slopes, laplacian = result(
        Evaluation(task, model, points, engine, training=training), False
    )

    def stacked(tensor: tf.Tensor, *columns: tf.Tensor) -> tf.Tensor:
        """Returns y' of one output, with the axes of x after those of y."""
        shape = (-1, *tensor.shape[1:], *sample_axes(points.moving[0]))
        return tf.reshape(tf.stack(columns, axis=-1), shape)

    return y, keras.tree.map_structure(stacked, y, *slopes), laplacian


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
        model: A Keras model or layer, or a function of tensors. Its outputs may have any
            shape.
        x: Points, finite floats of shape `(batch, ...)`, or a list, tuple or dict of such
            arrays for a model with several inputs. They are cast to the dtype of the model.
        direction: v, with the shape of x, or with the shape of one sample of x for a
            direction that all samples share. For several inputs, the structure of the
            inputs in `wrt`.
        order: Number of derivatives, 1 or more; up to 6 with the engine `"jet"`.
        wrt: The inputs to differentiate with respect to, by name or index. The others are
            held fixed. None uses all inputs of floats.
        engine: `"jet"` is one forward pass; `"tape"` nests tapes over t. `"auto"` uses
            jets. See `keras_smooth.derivatives`.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. The tuple then has the
            attribute `verification`.

    Returns:
        A tuple of `order + 1` tensors, y and its derivatives with respect to t, with the
        shape and dtype of y.

    Raises:
        TypeError: If x does not hold floats or `order` is not an integer.
        ValueError: If x or `direction` does not fit the model, `order` is out of range, the
            engine is unknown, a derivative is lost (the message names the layers), or the
            numbers cannot be verified.

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
