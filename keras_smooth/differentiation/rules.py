"""Rules for jets that users register for their layers, functions and operations."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth import registry
from keras_smooth.checks import shown
from keras_smooth.jet import Jet
from keras_smooth.operations import rows
from keras_smooth.operations.registered import Facts

_rules: dict[Any, Callable] = {}


def register_jet_rule(subject: Callable | str, rule: Callable) -> None:
    """Registers the rule of a layer, a function or an operation for Taylor mode.

    Taylor mode works on the operations that TensorFlow traces, whoever wrote the layer. A rule
    is needed if an operation has none, and useful if you know a shorter formula.

    Args:
        subject: A class of layers, an activation function, or the kind of a TensorFlow
            operation as a string, for example `"Expint"`. A rule of a class is used for
            exactly that class, since a subclass may compute something else.
        rule: For a class `rule(layer, *args, **kwargs)` with the arguments of the layer's
            call, in which tensors that depend on x are `keras_smooth.jet.Jet`; for a
            function `rule(*args, **kwargs)`; for an operation `rule(operation, *inputs)`
            with a `tf.Operation`. It returns a Jet, or a list with one for each output. The
            rule of a class or a function may return NotImplemented: then the rules of the
            operations are used. The functions of `keras_smooth.jet` map jets to jets. The
            rule of a function is used if the function is the activation of a layer or is
            differentiated itself. If the y of a rule differs from that of its class or
            function, the rule is not used, with a warning; in a graph, results are NaN.

    Raises:
        TypeError: If `subject` is neither a function, a class of layers nor a string, or
            `rule` is not a function.

    Example:

    >>> import keras, keras_smooth
    >>> from keras_smooth import jet
    >>> def cubed(x):
    ...     return x * x * x
    >>> keras_smooth.register_jet_rule(cubed, lambda x: jet.power(x, 3))
    """
    if not isinstance(subject, str):
        registry.check_subject(subject)
    elif not subject.isidentifier() or not hasattr(tf.raw_ops, subject):
        raise ValueError(
            "`subject` must name a kind of operation of tf.raw_ops, as in tf.Operation.type, "
            f"for example 'Expint'; received {shown(subject)}."
        )
    if not callable(rule) or isinstance(rule, type | keras.layers.Layer):
        raise TypeError(f"`rule` must be a function of jets, received {shown(rule)}.")
    registry.rows.changed()
    if isinstance(subject, str):
        # The other columns of the row are unchanged.
        rows.add_column(subject, jet=_unframed(rule), exact=False, control_flow=None)
    else:
        _rules[subject] = rule


def _unframed(rule: Callable) -> Callable:
    """Returns a rule whose arguments are jets with one curve for each direction."""

    @functools.wraps(rule)
    def unframed(operation: Any, *inputs: Any) -> Any:
        return rule(operation, *(x.unframed() if isinstance(x, Jet) else x for x in inputs))

    return unframed


def facts_of(subject: Any) -> Facts | None:
    """Returns the registered facts of a layer, an operation or a function.

    Rules of users come before those of the few functions that are smoother than their operations
    show, such as `keras.ops.logaddexp` at equal arguments.
    """
    facts = registry.facts_of(subject)
    key = type(subject) if isinstance(subject, keras.layers.Layer) else subject
    try:
        rule = _rules.get(key)
    # A callable object of a user may not be hashable.
    except TypeError:
        rule = None
    if rule is None:
        return facts
    rule = rule if key is subject else functools.partial(rule, subject)
    return Facts(rule, smoothness=None if facts is None else facts.smoothness)


def rule_of(subject: Any) -> Facts | None:
    """Returns the registered facts of a subject with a rule of jets, or None."""
    facts = facts_of(subject)
    return None if facts is None or facts.jet is None else facts
