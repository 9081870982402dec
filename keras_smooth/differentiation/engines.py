"""The engines, their limits, and the choice of an engine for a task."""

import math
from collections.abc import Callable, Sequence

from keras_smooth.checks import choice, shown, whole_number

ENGINES = ("auto", "tape", "jet")
# Rules of jets are tested up to this order.
MAX_ORDER = 6
# The highest order of nested tapes, whose graph doubles with each order.
MAX_TAPES = 20


def checked_engine(engine: object) -> str:
    """Returns the name of an engine."""
    return choice("`engine`", engine, ENGINES)


def checked_derivatives(
    order: object, engine: str, least: int = 0, argument: str = "`order`"
) -> int:
    """Returns the number of derivatives as an integer.

    Raises:
        TypeError: If `order` is not an integer.
        ValueError: If it is below `least` or the engine cannot compute so many.
    """
    checked_engine(engine)
    order = whole_number(argument, order, least)
    if order > MAX_TAPES:
        raise ValueError(
            f"{argument} must be {MAX_TAPES} or less, received {shown(order)}."
        )
    if engine == "jet" and order > MAX_ORDER:
        raise ValueError(
            f"{argument}: engine='jet' computes up to {MAX_ORDER} derivatives, received "
            f"{order}. engine='tape' computes up to {MAX_TAPES}."
        )
    return order


# The largest size of a sample of x for which "auto" may use jets for all partial derivatives,
# since jets carry all of them at once, or because tapes would be wrong in the next order, which
# the gradient of a loss of derivatives needs.
_LARGEST_DIM = 32
# The cost of a reverse sweep by its order, in units of one value of a jet. It doubles with each
# further order. Measured by `python benchmarks/partials.py --engines`.
_SWEEP_COSTS = (1.0, 2.3, 3.7, 7.5)


def jets_are_faster(order: int, dim: int, num_outputs: int) -> bool:
    """Returns whether jets are the faster engine for all derivatives up to an order.

    Jets carry each order along as many directions as there are derivatives of the highest
    order. Tapes need a reverse sweep for each number of y and each derivative below that order.

    Args:
        order: Number of derivatives.
        dim: Size of a sample of x.
        num_outputs: Size of a sample of y.
    """
    if dim > _LARGEST_DIM:
        return False
    num_values = 1 + order * math.comb(dim + order - 1, order)
    return jets_cost_less(num_values, [num_outputs * dim**k for k in range(order)])


def jets_cost_less(num_values: int, num_sweeps: Sequence[int]) -> bool:
    """Returns whether jets cost less than nested tapes.

    Args:
        num_values: Number of values that jets carry, the point itself included.
        num_sweeps: Number of reverse sweeps of tapes for each order.
    """
    last = len(_SWEEP_COSTS) - 1
    costs = (
        number * _SWEEP_COSTS[min(k, last)] * 2.0 ** max(0, k - last)
        for k, number in enumerate(num_sweeps)
    )
    return num_values < 1.0 + sum(costs)


def chosen_engine(
    engine: str,
    jets_are_faster: Callable[[], bool],
    dim: int,
    order: int,
    tapes_right_to: float,
) -> str:
    """Returns the requested engine, or for "auto" the faster one that is right.

    Args:
        engine: A name in `ENGINES`.
        jets_are_faster: A function that returns whether jets are the faster engine.
        dim: Size of a sample of all moving inputs.
        order: Number of derivatives.
        tapes_right_to: The order up to which TensorFlow's own derivatives are right.
    """
    if engine != "auto":
        return engine
    if order > MAX_ORDER:
        return "tape"
    if order > tapes_right_to or jets_are_faster():
        return "jet"
    in_a_loss = order + 1 > tapes_right_to and dim <= _LARGEST_DIM
    return "jet" if in_a_loss else "tape"
