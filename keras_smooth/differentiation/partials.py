"""Partial derivatives by name, as in an equation on paper."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.differentiation import engines, passes, tasks
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.multi_indices import (
    Axes,
    MultiIndex,
    checked_which,
    named_axes,
)
from keras_smooth.differentiation.points import checked_points
from keras_smooth.differentiation.results import result
from keras_smooth.differentiation.verification import with_verification_of
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.tables import ShownAsTable, Table


@tf.autograph.experimental.do_not_convert
def partials(
    model: Callable,
    x: Any,
    which: Any,
    *,
    names: Any = None,
    engine: str = "auto",
    batch_size: int | None = None,
    verify: bool = False,
) -> tuple:
    """Returns y and the partial derivatives of a model that an equation needs.

    They share directions, so that few forward passes compute all of them: see `plan`.

    Args:
        model: A Keras model or layer, or a function of tensors.
        x: Points, finite floats of shape `(batch, ...)`, or a list, tuple or dict of such
            arrays for a model with several inputs. They are cast to the dtype of the model.
        which: A list of partial derivatives. `"xxt"` is the derivative with respect to x
            twice and to t once, for names of one letter. Use a tuple for longer names, such
            as `("time", "x1")`, and a tuple of columns without names, such as `(0, 0, 1)`.
            If a sample of x has several axes, a number of it is a tuple of indices: `((0,
            2), (0, 2))` is the second derivative with respect to `x[:, 0, 2]`. The order of
            the letters does not matter; `""` is y.
        names: Names of the columns of x: a string of letters, such as `"xt"`, or a list.
            The inputs of a dict, and of a model with several inputs, are named by their
            keys if each sample is one number; otherwise use a dict with such names for each
            input.
        engine: `"jet"` is Taylor mode along the directions of `plan`; a mixed derivative
            then has the rounding errors of the pure ones in its directions. `"tape"` nests
            tapes, with a reverse sweep for each output and each derivative of lower order.
            `"auto"` uses the cheaper one.
        batch_size: Number of samples to evaluate at a time, which limits the memory. None
            uses all.
        verify: Whether to compare the result with differences of the model, and to raise an
            error if it differs. See `keras_smooth.Verification`. The tuple then has the
            attribute `verification`.

    Returns:
        A tuple of y and the partial derivatives in the order of `which`. Each has the
        shape, structure and dtype of y.

    Raises:
        TypeError: If x does not hold floats, or `which` or `names` has the wrong type.
        ValueError: If x does not fit the model, a name or index does not exist, the order
            is too high for the engine, a derivative is lost (the message names the layers),
            or the numbers cannot be verified.

    Example: the heat equation, u_t = u_xx, for u = exp(-t) sin(x).

    >>> import keras, keras_smooth, numpy as np
    >>> def u(x):
    ...     return keras.ops.exp(-x[:, 1:]) * keras.ops.sin(x[:, :1])
    >>> x = np.random.default_rng(0).normal(size=(5, 2))
    >>> u, u_t, u_x, u_xx = keras_smooth.partials(u, x, ["t", "x", "xx"], names="xt")
    >>> u_x.shape, bool(np.allclose(u_t, u_xx))
    (TensorShape([5, 1]), True)

    References:
        Griewank, Utke and Walther, 2000, "Evaluating higher derivative tensors by forward
        propagation of univariate Taylor series", Mathematics of Computation 69.
    """
    evaluation, _, which = _evaluation(model, x, which, names, engine, batch_size)
    values = result(evaluation, verify)
    position = {index: number for number, index in enumerate(_distinct(which))}
    return with_verification_of(values, [values[position[index]] for index in [(), *which]])


def _evaluation(
    model: Callable, x: Any, which: Any, names: Any, engine: str, batch_size: int | None
) -> tuple[Evaluation, Axes, list[MultiIndex]]:
    """Returns the evaluation of the distinct partials, the axes, and all multi-indices."""
    points = checked_points(model, x)
    axes = named_axes(points, names)
    indices = checked_which(axes, which)
    order = max(map(len, indices))
    engines.checked_derivatives(order, engine, 1, "The highest order in `which`")
    points, axes, indices = axes.restricted(points, indices)
    _, *distinct = _distinct(indices)
    task = tasks.forms(
        passes.partials(distinct), list(map(axes.word, distinct)), sum(points.dims)
    )
    return Evaluation(task, model, points, engine, batch_size), axes, indices


def _distinct(indices: list[MultiIndex]) -> list[MultiIndex]:
    """Returns the distinct multi-indices, with that of y first."""
    return list(dict.fromkeys([(), *indices]))


@tf.autograph.experimental.do_not_convert
def plan(
    model: Callable, x: Any, which: Any, *, names: Any = None, engine: str = "auto"
) -> "Plan":
    """Returns how `partials` computes partial derivatives: directions, orders, passes, engine.

    Args:
        model: A Keras model or layer, or a function of tensors.
        x: Points, as for `partials`. Only their shape matters.
        which: A list of partial derivatives, as for `partials`.
        names: Names of the columns of x, as for `partials`.
        engine: `"auto"`, `"jet"` or `"tape"`, as for `partials`.

    Returns:
        A `Plan`, which `print` and notebooks show as a table.

    Raises:
        TypeError: If x does not hold floats, or `which` or `names` has the wrong type.
        ValueError: If x does not fit the model, a name or index does not exist, or the
            order is too high for the engine.

    Example: u_xt needs one direction more than u_xx and u_tt.

    >>> import keras, keras_smooth, numpy as np
    >>> plan = keras_smooth.plan(
    ...     keras.ops.sin, np.ones((5, 2)), ["xx", "tt", "xt"], names="xt", engine="jet"
    ... )
    >>> print(plan)
    Engine 'jet'; by jets 3 directions in 1 pass, 7 values
    direction  order  pass
    ----------------------
    x          2      1
    t          2      1
    x + t      2      1
    """
    evaluation, axes, which = _evaluation(model, x, which, names, engine, None)
    _, *distinct = _distinct(which)
    planned = passes.passes_for(sum(evaluation.points.dims), passes.partials(distinct))
    rows = [
        (_direction_text(axes, steps), each.order, number)
        for number, each in enumerate(planned.passes, 1)
        for steps in each.directions
    ]
    directions, orders, numbers = zip(*rows)
    return Plan(
        engine=evaluation.chosen_engine,
        words=tuple(map(axes.word, distinct)),
        directions=directions,
        orders=orders,
        passes=numbers,
        num_values=planned.num_entries,
    )


@dataclasses.dataclass(frozen=True, repr=False)
class Plan(ShownAsTable):
    """How partial derivatives are computed, the result of `keras_smooth.plan`.

    Args:
        engine: The engine that is used, `"jet"` or `"tape"`.
        words: The partial derivatives, such as `"xx"`.
        directions: The directions of Taylor mode, such as `"x + t"`.
        orders: Number of derivatives along each direction.
        passes: The pass in which each direction is computed, from 1.
        num_values: Number of values that all passes carry together, for each number of y:
            the points, and the derivatives along each direction or their sums.

    Example:

    >>> import keras, keras_smooth, numpy as np
    >>> plan = keras_smooth.plan(
    ...     keras.ops.sin, np.ones((5, 2)), ["xt"], names="xt", engine="jet"
    ... )
    >>> plan.directions
    ('x + t', 'x - t')
    """

    engine: str
    words: tuple[str, ...]
    directions: tuple[str, ...]
    orders: tuple[int, ...]
    passes: tuple[int, ...]
    num_values: int

    def __repr__(self) -> str:
        return f"<Plan: {', '.join(self.words)}: {self._title()}>"

    def _title(self) -> str:
        directions = counted(len(self.directions), "direction")
        passes = counted(max(self.passes), "pass", "passes")
        values = counted(self.num_values, "value")
        return f"engine {self.engine!r}; by jets {directions} in {passes}, {values}"

    def _table(self) -> Table:
        return Table(
            title=self._title().capitalize(),
            head=("direction", "order", "pass"),
            rows=list(zip(self.directions, map(str, self.orders), map(str, self.passes))),
        )


def _direction_text(axes: Axes, steps: Any) -> str:
    """Returns the text of a direction, such as "x - 2 t"."""
    text = ""
    for axis, step in enumerate(steps):
        if step:
            size = "" if abs(step) == 1 else f"{abs(step):g} "
            sign = "-" if step < 0 else "+"
            text += f" {sign} {size}{axes.name(axis)}"
    return text.removeprefix(" + ")
