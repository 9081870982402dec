"""The table of rules, and which one is taken."""

import functools
import inspect
from collections.abc import Callable, Hashable
from typing import Any

import keras

from keras_smooth import registry
from keras_smooth.checks import shown
from keras_smooth.differentiation.rules import fallback
from keras_smooth.jet import Jet
from keras_smooth.models import graph
from keras_smooth.presentation.warn import warn


def register_jet_rule(subject: Callable, rule: Callable) -> None:
    """Says how a layer, an activation or an operation carries jets, or replaces what was said.

    Args:
        subject: A class of layers, an activation function, or a function of keras.ops,
            whose rule is taken wherever it stands in a graph. A rule holds for exactly
            that class: a subclass may compute something else.
        rule: For a class `rule(layer, *args, **kwargs)` with the arguments of the
            layer's call, in which tensors that depend on x are `keras_smooth.jet.Jet`;
            for a function `rule(*args, **settings)` with those arguments of the function
            that have not their defaults. It returns a Jet, or NotImplemented to leave the
            case to nested tapes, as is done where the rule does not take the arguments.
            The functions of `keras_smooth.jet` take and return jets.

    Raises:
        TypeError: If `subject` or `rule` is not callable.

    Example:

    >>> import keras, keras_smooth
    >>> from keras_smooth import jet
    >>> def cubed(x):
    ...     return x * x * x
    >>> keras_smooth.register_jet_rule(cubed, lambda x: jet.power(x, 3))
    >>> keras_smooth.register_jet_rule(keras.ops.square, lambda x: x * x)
    """
    registry.check_subject(subject)
    if not callable(rule) or isinstance(rule, type | keras.layers.Layer):
        raise TypeError(f"`rule` must be a function of jets, received {shown(rule)}.")

    @functools.wraps(rule)
    def spread_out(*args, **kwargs):
        args, kwargs = fallback.unframed(args, kwargs)
        return rule(*args, **kwargs)

    set_rule(subject, spread_out)


def set_rule(subject: Hashable, rule: Callable) -> None:
    """Gives a rule to a class or function; the rule keeps the frames of its jets."""
    registry.change(subject, jet=rule)


def rows(rule: Callable, owner: object, names: str) -> None:
    """Gives the same rule to several classes or functions of Keras, where it has them."""
    for name in names.split():
        if hasattr(owner, name):
            set_rule(getattr(owner, name), rule)


def rule_of(subject: Any) -> Callable | None:
    """Returns the rule of a layer class or function."""
    found = registry.row(subject)
    return None if found is None else found.jet


def activate(activation: Callable | None, x: Jet) -> Jet:
    """Applies an activation function, also one with fixed parameters, to a jet."""
    if activation is None:
        return x
    if isinstance(activation, keras.layers.Layer):
        return apply(activation, x)
    rule = rule_of(activation)
    result = NotImplemented
    if rule is not None:
        result = rule(x, **registry.unbound(activation)[1])
    return _taped(activation, (x,), {}) if result is NotImplemented else result


def apply(operation: Callable, *args, **kwargs):
    """Applies a layer, model, operation or function to jets.

    Args:
        operation: What is called.
        *args: Its arguments, in which some tensors may be jets.
        **kwargs: Its keyword arguments, likewise.

    Returns:
        What the operation returns, with jets in the place of tensors.
    """
    if not fallback.jets(args, kwargs):
        return fallback.call(operation, args, kwargs)
    if not getattr(operation, "built", True):
        fallback.call(operation, *keras.tree.map_structure(_primal, (args, kwargs)))
    args, kwargs = keras.tree.map_structure(lambda x: _cast(operation, x), (args, kwargs))
    result = _by_rule(operation, args, kwargs)
    return _taped(operation, args, kwargs) if result is NotImplemented else result


def _by_rule(operation: Callable, args: tuple, kwargs: dict):
    """Returns what the rule makes of a call, NotImplemented if none is for such a call."""
    rule = _rule(operation)
    if rule is None:
        return NotImplemented
    if not isinstance(operation, keras.layers.Layer):
        return _called(rule, args, kwargs)
    if kwargs.get("training"):
        raise ValueError(
            f"{operation.name} is called with training=True inside the model, where it may "
            "mix samples; engine='jet' runs layers in inference mode. Take engine='tape'."
        )
    # None is what Keras' arguments are by default.
    kwargs = {k: v for k, v in kwargs.items() if v is not None and k != "training"}
    return _called(rule, (operation, *args), kwargs)


def _called(rule: Callable, args: tuple, kwargs: dict):
    """Calls a rule, NotImplemented if it does not take such arguments."""
    try:
        inspect.signature(rule).bind(*args, **kwargs)
    except TypeError:
        return NotImplemented
    return rule(*args, **kwargs)


def _primal(x):
    return x.primal if isinstance(x, Jet) else x


def has_rule(operation: Callable) -> bool:
    """Returns whether there is a way for jets through an operation."""
    return _rule(operation) is not None and not _trains(operation)


def _trains(operation: Any) -> bool:
    """Returns whether a graph calls a layer in training mode, whatever its own mode is."""
    return any(mode or _trains(part) for part, mode in graph.calls(operation))


def _rule(operation: Any) -> Callable | None:
    if getattr(operation, "quantization_mode", None) is not None:
        return None
    if not isinstance(operation, keras.layers.Layer):
        return _operation_rule(operation)
    rule = rule_of(type(operation))
    if rule is None and isinstance(operation, keras.Model):
        # None for a model whose `call` is its own code.
        return rule_of(graph.graph_class(operation))
    return rule


def _operation_rule(operation: Callable) -> Callable | None:
    """Returns the rule of an operation in a graph: its function's, with its settings."""
    found = registry.operation_row(operation)
    if found is None or found.jet is None:
        return None
    return functools.partial(found.jet, **registry.settings(operation, found.subject))


def _cast(operation: Callable, x):
    """Casts as Keras casts the inputs of a layer."""
    if not isinstance(x, Jet) or not isinstance(operation, keras.layers.Layer):
        return x
    if isinstance(operation, keras.Model) or not operation.autocast:
        return x
    return x.cast(operation.compute_dtype)


def _taped(operation: Callable, args: tuple, kwargs: dict):
    name = getattr(operation, "name", getattr(operation, "__name__", repr(operation)))
    _warn_once(type(operation).__name__, name)
    return fallback.taped(operation, args, kwargs)


@functools.cache
def _warn_once(kind: str, name: str) -> None:
    warn(
        f"There is no jet rule for {name} ({kind}) as it is used here: nested tapes "
        "compute it, which is slower. keras_smooth.register_jet_rule adds a rule."
    )
