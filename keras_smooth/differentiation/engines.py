"""The engines, what each can do, and which is taken for a task."""

from keras_smooth.checks import choice, shown, whole_number

ENGINES = ("auto", "tape", "jet")
# The rules are tested to this order.
MAX_ORDER = 6
# Each more doubles the graph of nested tapes: beyond, nobody lives to see the result.
MOST_TAPES = 20


def checked_engine(engine: object) -> str:
    """Returns the name of an engine."""
    return choice("`engine`", engine, ENGINES)


def checked_derivatives(order: object, engine: str, least: int = 0) -> int:
    """Returns a number of derivatives that the engine can take."""
    order = whole_number("`order`", order, least)
    if order > MOST_TAPES:
        raise ValueError(f"`order` must be {MOST_TAPES} or less, received {shown(order)}.")
    if engine == "jet" and order > MAX_ORDER:
        raise ValueError(
            f"engine='jet' takes up to {MAX_ORDER} derivatives, received order={order}. "
            f"engine='tape' takes up to {MOST_TAPES}."
        )
    return order


# Up to how many numbers a sample jets are the faster engine for all partial derivatives of
# an order: their directions grow with d^order, but they repeat no sweep within a sweep.
_LARGEST_DIM = {1: 0, 2: 1}
_LARGEST_DIM_ELSE = 4
# A loss of derivatives is differentiated once more, by the weights: up to how many numbers a
# sample jets are used where TensorFlow is right to the order that is asked for alone. One
# forward pass a number, where tapes take one reverse sweep an output.
_LARGEST_DIM_IN_A_LOSS = 32
# Whether jets are the faster engine for `order` derivatives by `dim` numbers a sample:
# docs/derivatives.md has the measurements.
_JETS_ARE_FASTER = {
    "derivatives": lambda order, dim: dim <= _LARGEST_DIM.get(order, _LARGEST_DIM_ELSE),
    # One reverse sweep an output, whatever the dimension.
    "jacobian": lambda order, dim: False,
    # Work grows with d and not with d^2.
    "laplacian": lambda order, dim: True,
    # One forward pass along one direction.
    "directional": lambda order, dim: True,
}


def chosen(engine: str, task: str, dim: int, order: int, tapes_right_to: float) -> str:
    """Returns the engine that is asked for, or for "auto" the faster one that is right.

    Args:
        engine: A name in `ENGINES`.
        task: What is computed, a key of the table above.
        dim: How many numbers of a sample derivatives are taken by.
        order: Number of derivatives.
        tapes_right_to: Up to which order TensorFlow's own derivatives are right.
    """
    if engine != "auto":
        return engine
    if order > MAX_ORDER:
        return "tape"
    if order > tapes_right_to or _JETS_ARE_FASTER[task](order, dim):
        return "jet"
    in_a_loss = order + 1 > tapes_right_to and dim <= _LARGEST_DIM_IN_A_LOSS
    return "jet" if in_a_loss else "tape"
