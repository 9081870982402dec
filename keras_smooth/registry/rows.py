"""A row of the table, and the table itself."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import keras

from keras_smooth.registry.samples import Sample

Class = float | None


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of one activation function, layer class or operation.

    Args:
        subject: The function or the layer class.
        smoothness: k of the class C^k: -1 for a jump, 0 for ReLU, `math.inf` for
            tanh, None for unknown. A callable gives it from the parameters of the
            function, or from the layer.
        slope: f'(0), or a callable that gives it from the parameters. None: there is
            none, or the function mixes several numbers.
        jet: How it carries jets: `rule(*args, **parameters)`. It is used where nested tapes
            are wrong; all else goes through the operations that TensorFlow traces.
        joints: The points at which the pieces of the function meet, with the default
            parameters; of a function of several numbers, those t at which it is not
            smooth along (t, -t).
        reason: What happens at the joints, as the second half of a sentence that
            begins with the name.
        mixes: Whether an output depends on more numbers than one.
        recommended: Whether error messages and reports recommend it.
        examples: Parameters with which the tests hold the columns to numbers.
        tapes_wrong_from: The lowest order at which nested tapes are wrong, or not finite, at
            points where the function is smooth enough.
        tapes_wrong_at: Those points.
        sample: Of an operation, arguments to call it with.
        activation: Of an operation, the activation that it is.
    """

    subject: Any  # hashable
    smoothness: Class | Callable[..., Class] = None
    slope: float | None | Callable[..., float | None] = None
    jet: Callable | None = None
    joints: tuple[float, ...] = ()
    reason: str = ""
    mixes: bool = False
    recommended: bool = False
    examples: tuple[dict, ...] = ({},)
    tapes_wrong_from: float = math.inf
    tapes_wrong_at: str = ""
    sample: Sample | None = None
    activation: Callable | None = None


_rows: dict[Hashable, Row] = {}


def add(row: Row) -> None:
    """Adds a row, or replaces the one of its subject."""
    _rows[row.subject] = row


def change(subject: Hashable, **columns) -> None:
    """Gives a row other values in some columns; there need not have been one."""
    add(dataclasses.replace(row(subject) or Row(subject), **columns))


def all_rows() -> tuple[Row, ...]:
    """Returns the table."""
    return tuple(_rows.values())


# Functions of keras.ops whose operation has a class of another name.
_CLASSES = {
    "abs": "absolute",
    "batch_normalization": "batchnorm",
    "conj": "conjugate",
    "hard_swish": "hardsilu",
    "layer_normalization": "layernorm",
    "rms_normalization": "rmsnorm",
    "swish": "silu",
}
_operations: dict[str, Callable] = {}
_aliases: dict[Callable, Callable] = {}


def add_operation(function: Callable, **columns) -> None:
    """Adds the row of a function of keras.ops, and of the operation that it is in a graph.

    The classes of operations have no public name. They are known by the name of their
    function, which the tests hold to what Keras builds.
    """
    name = _CLASSES.get(function.__name__, function.__name__.replace("_", ""))
    known = _operations.setdefault(name, function)
    if known is not function:
        add_alias(function, known)
    add(Row(known, **columns))


def add_alias(function: Callable, known: Callable) -> None:
    """Says that a function is another one of the table, by another name."""
    _aliases[function] = known


def operation_row(operation: object) -> Row | None:
    """Returns the row of an operation in a graph, by the function that builds it.

    One that is not of Keras has the row of its class.
    """
    kind = type(operation)
    of_keras = kind.__module__.partition(".")[0] == "keras"
    return operation_of_class(kind.__name__) if of_keras else row(kind)


def operation_of_class(name: str) -> Row | None:
    """Returns the row of the function whose operation has a class of some name."""
    return row(_operations.get(name.lower()))


# What an operation of an older Keras, as 3.10, calls a parameter of its function.
_OLDER_NAMES = {"threshold_value": "threshold", "value": "default_value"}


def settings(operation: keras.Operation, function: Callable) -> dict:
    """Returns what an operation in a graph was made with beside the arguments of its call.

    By the names of the function's parameters, without those that have their defaults.
    """
    parameters = inspect.signature(function).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    made_with = {
        name if name in parameters else _OLDER_NAMES.get(name, name): value
        for name, value in operation.get_config().items()
    }
    return {
        name: value
        for name, value in made_with.items()
        if (name in parameters or takes_all and name != "name")
        and not (name in parameters and _equal(value, parameters[name].default))
    }


def _equal(value: object, default: object) -> bool:
    return value is default or type(value) is type(default) and value == default


def row(subject: Any) -> Row | None:
    """Returns the row of a function, of a function with parameters or of a layer class."""
    try:
        subject, parameters = unbound(subject)
        known = _aliases.get(subject, subject)
        # TensorFlow may call a parameter otherwise than Keras.
        if known is not subject and not parameters.keys() <= _parameters(known):
            return None
        return _rows.get(known)
    except TypeError:
        return None


def _parameters(function: Callable) -> set[str]:
    return set(inspect.signature(function).parameters)


def unbound(function: Any) -> tuple[Any, dict]:
    """Returns the function without the parameters that are fixed in it, and these.

    Both those of `keras_smooth.activations.partial` and of `functools.partial`, by name.
    """
    if isinstance(function, functools.partial) and not function.args:
        inner, parameters = unbound(function.func)
        return inner, {**parameters, **function.keywords}
    return getattr(function, "function", function), getattr(function, "parameters", {})


def least(classes: Iterable[Class]) -> Class:
    """Returns the smoothness of a composition: the least, unknown if any is unknown."""
    classes = list(classes)
    return None if None in classes else min(classes, default=math.inf)
