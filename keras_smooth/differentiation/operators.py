"""Derivatives of a model's outputs with respect to its inputs."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.differentiation import engines, tapes, taylor
from keras_smooth.differentiation.points import (
    checked_model,
    checked_points,
    checked_single,
    in_batches,
    is_numbers,
)


def names(order: int) -> list[str]:
    """Returns the names of the derivatives up to an order: y, dy, d2y, d3y, ..."""
    return ["y", "dy", *(f"d{k}y" for k in range(2, order + 1))][: order + 1]


# Keras itself calls layers without AutoGraph; it would try to convert this file as well.
@tf.autograph.experimental.do_not_convert
def derivatives(
    model: Callable,
    x: Any,
    order: int = 2,
    *,
    engine: str = "auto",
    batch_size: int | None = None,
    training: bool = False,
) -> tuple:
    """Returns y, y', y'' and so on of a model at the points x.

    The samples of a batch must not influence each other: what is returned is the
    derivative of every sample's output with respect to its own input.

    Args:
        model: A Keras model or layer, or a function of tensors.
        x: Points, floats of shape `(batch, ...)`; for a model with several inputs a
            list, tuple or dict of such arrays. They are cast to the dtype of the
            model's variables.
        order: Number of derivatives, 0 or more; up to 6 with the engine `"jet"`.
        engine: How they are computed. `"tape"` nests `tf.GradientTape`. `"jet"` is Taylor
            mode: one forward pass carries all orders, layer by layer; it takes one input.
            `"auto"` takes the faster one for the task. All give the same derivatives and
            refuse the same models. Functions made of pieces have the derivatives of the
            piece that a point is on, so that y'' of a ReLU is 0; `audit` finds them.
        batch_size: Number of samples at a time, which bounds the memory. None is all. On a
            CPU, 10,000 samples of one number, or 1000 of ten, fit the caches.
        training: Whether layers such as Dropout run in training mode, for tapes only.

    Returns:
        A tuple of `order + 1` tensors: y, y', y'', ...

        - y has the shape `(batch, ...)` of the model's output.
        - Where a sample of x is one number, as with x of shape `(batch, 1)`, every
          derivative has the shape of y.
        - Otherwise each derivative appends the shape of a sample: with x of shape
          `(batch, d)` and y of shape `(batch, m)`, y' is `(batch, m, d)` and y'' is
          `(batch, m, d, d)`.
        - With several outputs each entry has the structure of y; with several inputs
          each derivative puts the structure of x in the place of the tensor:
          `dy["out"]["in"]`, `d2y["out"]["in"]["in"]`.

        The dtype is that of the model's output.

    Raises:
        TypeError: If x does not hold floats or `order` is not an integer.
        ValueError: If x is empty or of the wrong shape, `order` is out of range, the
            engine is unknown, the model is not built, or a derivative is lost on the
            way; the message names the layers at fault.

    Example:

    >>> import numpy as np, keras_smooth
    >>> y, dy, d2y = keras_smooth.derivatives(lambda x: x**3, np.array([[2.0]]))
    >>> float(y[0, 0]), float(dy[0, 0]), float(d2y[0, 0])
    (8.0, 12.0, 12.0)
    """
    order = engines.checked_derivatives(order, engines.checked_engine(engine))
    engines.refuse_training(engine, training)
    checked_model(model)
    if engine == "jet" or not keras.tree.is_nested(x) or is_numbers(x):
        x = checked_single(model, x)
        engine = engines.chosen(engine, "derivatives", model, x, order, training)
    else:
        x = keras.tree.map_structure(lambda part: checked_points(model, part), x)
        engine = "tape"
    return _entries(model, x, order, engine, batch_size, training)


def _entries(
    model: Callable,
    x: Any,
    order: int,
    engine: str,
    batch_size: int | None,
    training: Any = False,
) -> tuple:
    """Returns y, y', y'' and so on at points that are checked."""

    def entries(*parts: Any) -> Any:
        points = keras.tree.pack_sequence_as(x, parts)
        if engine == "tape" or order == 0:
            return tuple(
                tapes.derivatives(tapes.ModelFunction(model, training), points, order)
            )
        return taylor.derivatives(model, points, order)

    return in_batches(entries, keras.tree.flatten(x), batch_size)


# Keras itself calls layers without AutoGraph; it would try to convert this file as well.
@tf.autograph.experimental.do_not_convert
def gradient(
    model: Callable, x: Any, *, engine: str = "auto", batch_size: int | None = None
) -> tf.Tensor:
    """Returns the gradient of a model with one output number a sample.

    Args:
        model: A Keras model or layer, or a function of a tensor.
        x: Points, floats of shape `(batch, ...)`.
        engine: `"tape"`, one reverse sweep whatever the dimension, or `"jet"`; `"auto"`
            takes tapes.
        batch_size: Number of samples at a time, which bounds the memory. None is all.

    Returns:
        A tensor of the shape of x.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If a sample of the output is not one number, x does not fit the
            model, the engine is unknown, or the derivative is lost on the way.

    Example:

    >>> import numpy as np, keras_smooth
    >>> keras_smooth.gradient(lambda x: x[:, 0] * x[:, 1], np.array([[2.0, 3.0]])).numpy()
    array([[3., 2.]])
    """
    x = _checked(model, x, engine)
    rows = _tensor("jacobian", model, x, 1, engine, batch_size)
    axes = tuple(x.shape[1:])
    outputs = rows.shape[1 : rows.shape.rank - len(axes)]
    if outputs.num_elements() != 1:
        raise ValueError(
            f"gradient needs one output number a sample, received outputs of shape "
            f"{tuple(outputs)}. Take keras_smooth.jacobian."
        )
    return tf.reshape(rows, (-1, *axes))


@tf.autograph.experimental.do_not_convert
def jacobian(
    model: Callable, x: Any, *, engine: str = "auto", batch_size: int | None = None
) -> tf.Tensor:
    """Returns the first derivatives of all outputs by all inputs.

    Args:
        model, x: As for `gradient`, with outputs of any shape.
        engine: `"tape"`, a reverse sweep for each output, or `"jet"`, one forward pass
            with a direction for each input; `"auto"` takes tapes.
        batch_size: Number of samples at a time; None is all.

    Returns:
        A tensor of the shape of y with the shape of a sample of x behind it: `(batch, m,
        d)`, also where m or d is 1.

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
    return _tensor("jacobian", model, _checked(model, x, engine), 1, engine, batch_size)


@tf.autograph.experimental.do_not_convert
def hessian(
    model: Callable, x: Any, *, engine: str = "auto", batch_size: int | None = None
) -> tf.Tensor:
    """Returns the second derivatives of all outputs by all pairs of inputs.

    Args:
        model, x: As for `gradient`, with outputs of any shape.
        engine: `"tape"`, or `"jet"`, one forward pass with d (d + 1) / 2 directions;
            `"auto"` takes jets for d up to 2.
        batch_size: Number of samples at a time; None is all.

    Returns:
        A tensor of the shape of y with twice the shape of a sample of x behind it:
        `(batch, m, d, d)`, also where m or d is 1.

    Raises:
        TypeError: If x does not hold floats.
        ValueError: If x does not fit the model, the engine is unknown, or the derivative
            is lost on the way.

    Example:

    >>> import numpy as np, keras_smooth
    >>> keras_smooth.hessian(lambda x: x[:, 0] * x[:, 1] ** 2, np.array([[2.0, 3.0]])).numpy()
    array([[[0., 6.],
            [6., 4.]]])
    """
    return _tensor("derivatives", model, _checked(model, x, engine), 2, engine, batch_size)


def _checked(model: Callable, x: Any, engine: str) -> tf.Tensor:
    """Returns the points of a model with one input."""
    engines.checked_engine(engine)
    checked_model(model)
    return checked_single(model, x)


def _tensor(
    task: str, model: Callable, x: Any, order: int, engine: str, batch_size: int | None
) -> tf.Tensor:
    """Returns all derivatives of one order, with the axes of x written out."""
    engine = engines.chosen(engine, task, model, x, order)
    y, *_, last = _entries(model, x, order, engine, batch_size)

    def written_out(y: Any, value: Any) -> Any:
        shape = [-1, *y.shape[1:], *tuple(x.shape[1:]) * order]
        return tf.reshape(value, shape)

    return keras.tree.map_structure(written_out, y, last)


@tf.autograph.experimental.do_not_convert
def laplacian(
    model: Callable, x: Any, *, engine: str = "auto", batch_size: int | None = None
) -> tf.Tensor:
    """Returns the sum of the second derivatives of each output along the axes of x.

    Args:
        model, x: As for `gradient`, with outputs of any shape.
        engine: `"jet"`, one forward pass whose work grows with d, or with the width of the
            first layer where that is below d / 2 (forward Laplacian), or `"tape"`, the
            trace of the Hessian; `"auto"` takes jets where the model has rules for them.
        batch_size: Number of samples at a time; None is all.

    Returns:
        A tensor of the shape of y.

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
    functions = {"jet": taylor.laplacian, "tape": lambda *at: _with_trace(*at)[2]}
    return _laplacian(functions, model, x, engine, batch_size)


def with_laplacian(
    model: Callable, x: Any, *, engine: str = "auto", batch_size: int | None = None
) -> tuple:
    """Returns y, y' and the Laplacian together, with the arguments of `laplacian`."""
    functions = {"jet": taylor.with_laplacian, "tape": _with_trace}
    return _laplacian(functions, model, x, engine, batch_size)


def _laplacian(
    functions: dict, model: Callable, x: Any, engine: str, batch_size: int | None
) -> Any:
    x = _checked(model, x, engine)
    function = functions[engines.chosen(engine, "laplacian", model, x, 2)]
    return in_batches(lambda x: function(model, x), (x,), batch_size)


def _with_trace(model: Callable, x: tf.Tensor) -> tuple:
    """Returns y, y' and the Laplacian by nested tapes."""
    y, dy, d2y = tapes.derivatives(tapes.ModelFunction(model), x, 2)
    dim = math.prod(x.shape[1:])

    def traced(y: Any, value: Any) -> Any:
        return tf.linalg.trace(tf.reshape(value, (-1, *y.shape[1:], dim, dim)))

    return y, dy, keras.tree.map_structure(traced, y, d2y)


@tf.autograph.experimental.do_not_convert
def directional(
    model: Callable,
    x: Any,
    direction: Any,
    order: int = 1,
    *,
    engine: str = "auto",
    batch_size: int | None = None,
) -> tuple:
    """Returns y and its derivatives along a direction: those of y(x + t v) at t = 0.

    Args:
        model, x: As for `gradient`, with outputs of any shape.
        direction: v, of the shape of x, or of a sample of x for one that all share.
        order: Number of derivatives, 1 or more; up to 6 with the engine `"jet"`.
        engine: `"jet"`, one forward pass, or `"tape"`, nested tapes over t; `"auto"` takes
            jets where the model has rules for them.
        batch_size: Number of samples at a time; None is all.

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
    x = _checked(model, x, engine)
    direction = _checked_direction(x, direction)
    engine = engines.chosen(engine, "directional", model, x, order)
    function = taylor.along if engine == "jet" else tapes.along
    return in_batches(
        lambda x, v: tuple(function(model, x, v, order)), (x, direction), batch_size
    )


def _checked_direction(x: tf.Tensor, direction: Any) -> tf.Tensor:
    direction = tf.cast(tf.convert_to_tensor(direction), x.dtype)
    if not direction.shape.is_compatible_with(x.shape):
        if not direction.shape.is_compatible_with(x.shape[1:]):
            raise ValueError(
                f"`direction` must have the shape of x, {tuple(x.shape)}, or of a sample, "
                f"{tuple(x.shape[1:])}; received {tuple(direction.shape)}."
            )
        direction = tf.broadcast_to(direction, tf.shape(x))
    return direction
