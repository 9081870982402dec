"""The engines, what each can do, and which is taken for a task."""

from collections.abc import Callable
from typing import Any

import keras

from keras_smooth import layers
from keras_smooth.checks import choice, shown, truth, whole_number
from keras_smooth.differentiation import rules, tapes
from keras_smooth.models import graph
from keras_smooth.models.calls import accepts_training

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


def checked_training(engine: str, training: Any) -> bool:
    """Returns whether layers run in training mode, in which no jets do."""
    if truth("`training`", training) and engine == "jet":
        raise ValueError(
            "engine='jet' runs layers in inference mode. Take engine='tape' for "
            "training=True."
        )
    return bool(training)


# Up to how many numbers a sample jets are the faster engine for all partial derivatives of
# an order: their directions grow with d^order, but they repeat no sweep within a sweep.
_LARGEST_DIM = {1: 0, 2: 1}
_LARGEST_DIM_ELSE = 4
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


def chosen(
    engine: str, task: str, model: Callable, dim: int, order: int, training: bool = False
) -> str:
    """Returns the engine that is asked for, or for "auto" the faster one.

    Args:
        engine: A name in `ENGINES`.
        task: What is computed, a key of the table above.
        model: What is differentiated.
        dim: How many numbers of a sample derivatives are taken by.
        order: Number of derivatives.
        training: Whether layers run in training mode, which is for tapes.
    """
    if _is_for_tapes(model):
        return "tape"
    if engine != "auto":
        return engine
    if training and _differs_in_training(model) or not can_use_jets(model, order):
        return "tape"
    if tapes.are_wrong(model, order):
        return "jet"
    return "jet" if _JETS_ARE_FASTER[task](order, dim) else "tape"


def can_use_jets(model: Callable, order: int) -> bool:
    """Returns whether jets are worth a try: there is a rule, and no mask."""
    return 1 <= order <= MAX_ORDER and rules.has_rule(model) and not _is_for_tapes(model)


def _is_for_tapes(model: Callable) -> bool:
    """Returns whether jets cannot have it: they carry no masks, but directions in the batch."""
    return graph.makes_masks(model) or graph.has_one_batch_size(model)


# Their `call` takes `training`, but makes no use of it.
_WITHOUT_MODES = (keras.layers.Dense, keras.layers.EinsumDense, layers.Dense)


def _differs_in_training(model: Callable) -> bool:
    """Returns whether a layer may do something else in training mode; in doubt it may."""
    if not isinstance(model, keras.layers.Layer):
        return False
    if graph.is_composed(model):
        return not graph.is_graph(model) or any(
            map(_differs_in_training, graph.inner(model))
        )
    return type(model) not in _WITHOUT_MODES and accepts_training(model.call)
