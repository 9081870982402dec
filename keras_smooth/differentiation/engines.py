"""The engines, their limits, and the choice for a task."""

import math
from collections.abc import Callable, Sequence

from keras_smooth.checks import choice, shown, whole_number

ENGINES = ("auto", "tape", "jet")
# The rules are tested to this order.
MAX_ORDER = 6
# Each order doubles the graph of nested tapes.
MOST_TAPES = 20


def checked_engine(engine: object) -> str:
    """Returns the name of an engine."""
    return choice("`engine`", engine, ENGINES)


def checked_derivatives(
    order: object, engine: str, least: int = 0, argument: str = "`order`"
) -> int:
    """Returns a number of derivatives that the engine can compute."""
    checked_engine(engine)
    order = whole_number(argument, order, least)
    if order > MOST_TAPES:
        raise ValueError(
            f"{argument} must be {MOST_TAPES} or less, received {shown(order)}."
        )
    if engine == "jet" and order > MAX_ORDER:
        raise ValueError(
            f"{argument}: engine='jet' computes up to {MAX_ORDER} derivatives, received "
            f"{order}. engine='tape' computes up to {MOST_TAPES}."
        )
    return order


# Up to how many numbers a sample "auto" uses jets for all partial derivatives, and those of a
# loss, which is differentiated once more by the weights: jets carry all of them at once.
_LARGEST_DIM = 32
# What a sweep of nested tapes costs by its order, in values that jets carry; beyond these each
# order doubles it. Measured by `python benchmarks/partials.py --engines`.
_SWEEPS = (1.0, 2.3, 3.7, 7.5)


def jets_are_faster(order: int, dim: int, num_outputs: int) -> bool:
    """Returns whether jets are the faster engine for all derivatives up to an order.

    Jets carry each order along as many directions as there are derivatives of the highest
    order. Tapes make a sweep for each output, and for each derivative below that order.

    Args:
        order: Number of derivatives.
        dim: How many numbers a sample of x has.
        num_outputs: How many numbers a sample of y has.
    """
    if dim > _LARGEST_DIM:
        return False
    num_values = 1 + order * math.comb(dim + order - 1, order)
    return jets_cost_less(num_values, [num_outputs * dim**k for k in range(order)])


def jets_cost_less(num_values: int, num_sweeps: Sequence[int]) -> bool:
    """Returns whether jets cost less than nested tapes.

    Args:
        num_values: How many values jets carry, the point itself among them.
        num_sweeps: How many sweeps tapes make for each order.
    """
    last = len(_SWEEPS) - 1
    costs = (
        number * _SWEEPS[min(k, last)] * 2.0 ** max(0, k - last)
        for k, number in enumerate(num_sweeps)
    )
    return num_values < 1.0 + sum(costs)


def chosen(
    engine: str,
    jets_are_faster: Callable[[], bool],
    dim: int,
    order: int,
    tapes_right_to: float,
) -> str:
    """Returns the requested engine, or for "auto" the faster one that is right.

    Args:
        engine: A name in `ENGINES`.
        jets_are_faster: A function that returns whether they are.
        dim: How many numbers of a sample derivatives are taken by.
        order: Number of derivatives.
        tapes_right_to: Up to which order TensorFlow's own derivatives are right.
    """
    if engine != "auto":
        return engine
    if order > MAX_ORDER:
        return "tape"
    if order > tapes_right_to or jets_are_faster():
        return "jet"
    in_a_loss = order + 1 > tapes_right_to and dim <= _LARGEST_DIM
    return "jet" if in_a_loss else "tape"
