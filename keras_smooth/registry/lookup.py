"""The smoothness of functions, layers and models; activations by name; recommendations."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from keras_smooth.checks import finite_number, nearest, refused, text
from keras_smooth.presentation.warn import renamed_argument
from keras_smooth.registry import layers, reading
from keras_smooth.registry.rows import Class, Row, all_rows, change, row

# Activations of this package and of users by their names.
_functions = {}


def register_smoothness(
    subject: Callable,
    smoothness: Class | Callable[..., Class],
    breakpoints: Iterable[float] = (),
    reason: str = "",
    *,
    joints: Iterable[float] | None = None,
) -> None:
    """Adds a row to the table of smoothness, or replaces one.

    Args:
        subject: An activation function or a class of layers. Afterwards, a function is also
            found by its `__name__`.
        smoothness: k of the class C^k, an integer of at least -1 or `math.inf`; or a
            callable that returns k from the function's parameters or from the layer.
        breakpoints: The points at which the pieces of the function join.
        reason: The fault at the breakpoints in words, for error messages and reports.
        joints: The deprecated name of `breakpoints`.

    Raises:
        TypeError: If `subject`, `breakpoints` or `reason` has a wrong type.
        ValueError: If `smoothness` is none of these, a breakpoint is not finite, or
            `breakpoints` and `joints` are passed.

    Example:

    >>> import math, keras_smooth
    >>> def cube(x):
    ...     return x**3
    >>> keras_smooth.register_smoothness(cube, math.inf)
    >>> keras_smooth.smoothness(cube)
    inf
    """
    check_subject(subject)
    _check_smoothness(smoothness)
    breakpoints = renamed_argument("breakpoints", breakpoints, "joints", joints)
    breakpoints = _checked_breakpoints(breakpoints)
    change(
        subject,
        smoothness=smoothness,
        breakpoints=breakpoints,
        reason=text("`reason`", reason),
    )
    if not isinstance(subject, type):
        register_name(subject)


def check_subject(subject: object) -> None:
    """Checks that a subject is a function or a class of layers.

    Raises:
        TypeError: If it is neither.
    """
    if not callable(subject) or isinstance(subject, keras.layers.Layer):
        raise TypeError(refused("`subject`", "a function or a class of layers", subject))


def _check_smoothness(smoothness: object) -> None:
    is_kind = isinstance(smoothness, type | keras.layers.Layer)
    if not _is_class(smoothness) and (is_kind or not callable(smoothness)):
        expected = "an integer of at least -1, math.inf or a function"
        raise ValueError(refused("`smoothness`", expected, smoothness))


def _checked_breakpoints(breakpoints: Any) -> tuple[float, ...]:
    try:
        points = (
            None if isinstance(breakpoints, str | bytes | Mapping) else list(breakpoints)
        )
    # Numbers, arrays without axes and symbolic tensors cannot be iterated over.
    except (TypeError, NotImplementedError):
        points = None
    if points is None:
        raise TypeError(refused("`breakpoints`", "a list of numbers", breakpoints))
    return tuple(finite_number("`breakpoints`: each", point) for point in points)


def register_name(function: Callable) -> None:
    """Registers a function under its `__name__`."""
    _functions[function.__name__] = function


def has_name(name: str) -> bool:
    """Returns whether a function of this package or of a user is registered under a name."""
    return name in _functions


def _is_class(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value == math.inf or isinstance(value, int) and value >= -1


def function_names() -> list[str]:
    """Returns the names of all activation functions in the table."""
    return sorted({r.subject.__name__ for r in activation_rows()})


def activation_rows() -> list[Row]:
    """Returns the rows of the activation functions: of Keras, of this package, of users."""
    stock = (getattr(keras.activations, name) for name in sorted(dir(keras.activations)))
    rows = map(row, [*stock, *_functions.values()])
    return list({r.subject: r for r in rows if r is not None}.values())


def activation_of(function: Callable) -> Callable:
    """Returns the activation in the table of which a function is an alias, or the function itself.

    Functions of keras.ops and of TensorFlow can be aliases of those of `keras.activations`. Fixed
    parameters are left out.
    """
    registered = row(function)
    return function if registered is None else registered.subject


def tapes_right_to(obj: object) -> float:
    """Returns the order up to which nested tapes are right everywhere, `math.inf` if unknown."""
    return reading.read(obj).tapes_right_to


def has_derivatives(obj: object, order: float) -> bool:
    """Returns whether a subject is known to be C^order, with right derivatives by nested tapes."""
    k = smoothness(obj)
    return k is not None and k >= order and tapes_right_to(obj) >= order


def recommended(order: float = 2) -> list[str]:
    """Returns the names of the recommended activations of class C^order.

    Args:
        order: The highest order of the derivatives.
    """
    names = (r.subject.__name__ for r in all_rows() if r.recommended)
    return [n for n in names if (k := smoothness(n)) is not None and k >= order]


def named(name: str) -> Callable:
    """Returns the function with a name: of this package or of users first, then of Keras.

    Raises:
        ValueError: If there is no such function; the message lists the nearest names.
    """
    try:
        return _functions.get(name) or keras.activations.get(name)
    except ValueError:
        hint = nearest(name, function_names())
        raise ValueError(f"There is no activation named {name!r}. {hint}") from None


def smoothness(obj: object) -> Class:
    """Returns the k of the class C^k of a function, layer or model.

    It is read from the operations that TensorFlow traces: the smallest class on any path from
    the inputs to the outputs, including the edges of their domains if they are finite there.
    Points at which an operation is not finite, such as 0 for 1 / x or log(x), are excluded.
    For functions that are smoother than their operations show, such as ELU, it is the
    registered class. For others, such as relu(x)**3, the true class may be larger.

    Args:
        obj: An activation (its name or the function), any function of tensors, a layer, a
            layer class whose smoothness does not depend on arguments, or a model.

    Returns:
        k of the differentiability class C^k: -1 for a jump, 0 for ReLU, 1 for ELU,
        `math.inf` for tanh. `None` means unknown: TensorFlow cannot trace it, or an operation
        in it is unknown.

    Raises:
        ValueError: If `obj` is a string that is not the name of an activation.
        TypeError: If `obj` cannot be a function, layer or model.

    Example:

    >>> import keras, keras_smooth
    >>> keras_smooth.smoothness("relu"), keras_smooth.smoothness("tanh")
    (0, inf)
    >>> keras_smooth.smoothness(keras.layers.Dense(20, activation="elu"))
    1
    >>> keras_smooth.smoothness(lambda x: keras.ops.maximum(keras.ops.sin(x), 0.0))
    0
    """
    if isinstance(obj, str):
        return smoothness(named(obj))
    if not callable(obj):
        expected = "the name of an activation, a function, a layer or a model"
        raise TypeError(refused("`obj`", expected, obj))
    if isinstance(obj, type):
        registered_row = row(obj)
        k = None if registered_row is None else registered_row.smoothness
        return layers.of_class(obj) if k is None or callable(k) else k
    registered = registered_smoothness(obj)
    return reading.read(obj).smoothness if registered is None else registered


def registered_smoothness(obj: object) -> Class:
    """Returns the registered smoothness of a function, layer or operation, or None."""
    facts = reading.facts_of(obj)
    return None if facts is None else facts.smoothness


def reading_of_layer(layer: keras.Operation, args: tuple, kwargs: dict) -> reading.Reading:
    """Returns the reading of a layer or operation in a graph.

    Args:
        layer: Layer or keras.Operation.
        args: The arguments of the call in the graph, with symbolic tensors.
        kwargs: The keyword arguments of the call.
    """
    is_layer = isinstance(layer, keras.layers.Layer)
    symbols = filter(keras.backend.is_keras_tensor, keras.tree.flatten((args, kwargs)))
    on_floats = any("float" in symbol.dtype for symbol in symbols)
    if not is_layer and not on_floats:
        return reading.Reading()
    # A function that cannot be traced can raise any error.
    with contextlib.suppress(Exception):
        registered = registered_smoothness(layer)
        if registered is not None:
            return reading.Reading(registered)
        known = reading.read(layer) if is_layer else reading.Reading()
        is_unread = known.smoothness is None and on_floats
        return reading.read_call(layer, args, kwargs) if is_unread else known
    return reading.Reading()
