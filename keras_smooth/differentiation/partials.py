"""Partial derivatives by name, as an equation on paper has them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.differentiation import engines, tasks
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.multi_indices import (
    Axes,
    MultiIndex,
    axes_of,
    checked_which,
)
from keras_smooth.differentiation.passes import Form, passes_for
from keras_smooth.differentiation.points import checked_points
from keras_smooth.differentiation.results import result
from keras_smooth.differentiation.verification import with_verification_of
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

    All of them share few directions, in as few passes as are found: see `plan`.

    Args:
        model, x: As for `keras_smooth.derivatives`.
        which: A list of partial derivatives. `"xxt"` is by x twice and by t once, for names of
            one letter; for longer names a tuple, as `("time", "x1")`; without names a tuple of
            columns, as `(0, 0, 1)`. Where a sample of x has several axes, a number of it is a
            tuple of places: `((0, 2), (0, 2))` is the second derivative by `x[:, 0, 2]`. The
            order in which derivatives are taken does not matter; `""` is y.
        names: Of the columns of x, a string of letters as `"xt"` or a list of names. The inputs
            of a dict, and of a model with several inputs, have their keys as names where a
            sample is one number; for others a dict of such names by input.
        engine: `"jet"`, Taylor mode along the directions of `plan`, where a mixed derivative
            has the rounding of the pure ones beside it; `"tape"`, nested tapes, a
            sweep for each derivative that another one is made from and each output; `"auto"`
            takes what costs less.
        batch_size: Number of samples at a time; None is all.
        verify: As for `keras_smooth.derivatives`.

    Returns:
        A tuple of y and the partial derivatives in the order of `which`, each of the shape of
        y, or the structure of y. With `verify=True` it has an attribute `verification`.

    Raises:
        TypeError: If x does not hold floats, or `which` or `names` is of the wrong kind.
        ValueError: If x does not fit the model, a name or place does not exist, the order is
            too high for the engine, a derivative is lost on the way, or the numbers cannot be
            verified.

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
    place = {index: number for number, index in enumerate(_distinct(which))}
    return with_verification_of(values, [values[place[index]] for index in [(), *which]])


def _evaluation(
    model: Callable, x: Any, which: Any, names: Any, engine: str, batch_size: int | None
) -> tuple[Evaluation, Axes, list[MultiIndex]]:
    """Returns what is to be computed, the numbers that move, and the multi-indices."""
    points = checked_points(model, x)
    axes = axes_of(points, names)
    indices = checked_which(axes, which)
    order = max(map(len, indices))
    engines.checked_derivatives(order, engine, 1, "The highest order in `which`")
    points, axes, indices = axes.restricted(points, indices)
    _, *distinct = _distinct(indices)
    task = tasks.forms(_forms(distinct), list(map(axes.word, distinct)), axes.dim)
    return Evaluation(task, model, points, engine, batch_size), axes, indices


def _distinct(indices: list[MultiIndex]) -> list[MultiIndex]:
    """Returns each multi-index once, that of y first."""
    return list(dict.fromkeys([(), *indices]))


def _forms(indices: list[MultiIndex]) -> tuple[Form, ...]:
    return tuple(((index, 1.0),) for index in indices)


@tf.autograph.experimental.do_not_convert
def plan(
    model: Callable, x: Any, which: Any, *, names: Any = None, engine: str = "auto"
) -> "Plan":
    """Returns how `partials` computes partial derivatives: directions, orders, passes, engine.

    Args:
        model, x, which, names, engine: As for `keras_smooth.partials`. Of x the shape counts.

    Returns:
        A `Plan`, which `print` and notebooks show as a table.

    Raises:
        TypeError, ValueError: As `keras_smooth.partials`.

    Example: u_xt by one direction more than u_xx and u_tt have.

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
    passes = passes_for(axes.dim, _forms(distinct))
    rows = [
        (_direction(axes, steps), each.order, number)
        for number, each in enumerate(passes.passes, 1)
        for steps in each.directions
    ]
    directions, orders, numbers = zip(*rows)
    return Plan(
        engine=evaluation.chosen_engine,
        words=tuple(map(axes.word, distinct)),
        directions=directions,
        orders=orders,
        passes=numbers,
        num_values=passes.num_entries,
    )


@dataclasses.dataclass(frozen=True, repr=False)
class Plan(ShownAsTable):
    """How partial derivatives are computed.

    Args:
        engine: `"jet"` or `"tape"`, what is used for them.
        words: The partial derivatives.
        directions: Along which lines go through the model with Taylor mode, in words.
        orders: Number of derivatives along each.
        passes: The pass of each, from 1.
        num_values: How many values go through the model in all passes: the points, and the
            derivatives along each direction, of which the last ones may be summed.
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
        number = max(self.passes)
        return (
            f"engine {self.engine!r}; by jets {len(self.directions)} directions in {number} "
            f"{'pass' if number == 1 else 'passes'}, {self.num_values} values"
        )

    def _table(self) -> Table:
        return Table(
            title=self._title().capitalize(),
            head=("direction", "order", "pass"),
            rows=[
                (direction, str(order), str(number))
                for direction, order, number in zip(
                    self.directions, self.orders, self.passes
                )
            ],
        )


def _direction(axes: Axes, steps: Any) -> str:
    """Returns a direction in words, as "x - 2 t"."""
    text = ""
    for place, step in enumerate(steps):
        if step:
            size = "" if abs(step) == 1 else f"{abs(step):g} "
            sign = "-" if step < 0 else "+"
            text += f" {sign} {size}{axes.name(place)}"
    return text.removeprefix(" + ")
