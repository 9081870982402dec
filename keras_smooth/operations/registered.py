"""Functions and layers with registered facts that their operations do not show.

In a trace, each call of such a function or layer has a unique name, the key of its facts.
"""

import contextlib
import contextvars
import dataclasses
import functools
import inspect
import itertools
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import map_entries, primal
from keras_smooth.operations.leaves import chosen_leaves
from keras_smooth.presentation.warn import warn_once

_NAME = "keras_smooth_rule"
_facts: dict[str, "Facts"] = {}
_new_names: contextvars.ContextVar[list[str]] = contextvars.ContextVar("new_names")
_numbers = itertools.count()
# Relative tolerances of half the digits: above rounding, and below the error of a wrong rule.
_TOLERANCES = {"bfloat16": 0.1, "float16": 3e-2, "float32": 3e-4, "float64": 1e-8}


@dataclasses.dataclass(frozen=True)
class Facts:
    """Registered facts of a function or a layer.

    Args:
        jet: Rule for jets, with the arguments of the function. If None, the operations of
            the function are evaluated on jets.
        tapes_right_to: The highest order up to which TensorFlow's derivatives are right.
        smoothness: k of the class C^k; None if its operations determine it.
    """

    jet: Callable | None = None
    tapes_right_to: float = math.inf
    smoothness: float | None = None


def with_facts(function: Callable, facts: Facts) -> Callable:
    """Returns a function whose calls are traced under unique names, the keys of its facts.

    Only calls in the context `facts_of_calls` are. Others, as by another thread while a model is
    traced, call the function itself.

    Args:
        function: A function of tensors.
        facts: The facts that are registered for it.
    """
    rule = facts.jet

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        names = _new_names.get(None)
        if names is None or rule is not None and not _accepts(rule, args, kwargs):
            return function(*args, **kwargs)
        tensors, filled = chosen_leaves((args, kwargs), tf.is_tensor)
        num_tensors = len(tensors)

        def of_tensors(called: Callable) -> Callable:
            def call_with(*values: tf.Tensor) -> Any:
                # Tensors that are captured follow the arguments.
                positional, named = filled(values[:num_tensors])
                return called(*positional, **named)

            return call_with

        jets = None if rule is None else of_tensors(rule)
        body = function_with_facts(
            of_tensors(function), dataclasses.replace(facts, jet=jets)
        )
        names.append(body.__name__)
        return tf.function(body, autograph=False)(*tensors)

    return call


@contextlib.contextmanager
def facts_of_calls() -> Iterator[Callable[[tf.Graph], object]]:
    """Stores the facts of the calls that are traced in this context.

    Yields:
        A function that receives the traced graph. The facts are deleted with it.
    """
    names: list[str] = []
    token = _new_names.set(names)
    try:
        yield lambda graph: weakref.finalize(graph, _delete, names)
    except BaseException:
        _delete(names)
        raise
    finally:
        _new_names.reset(token)


def _delete(names: list[str]) -> None:
    for name in names:
        _facts.pop(name, None)


def function_with_facts(function: Callable, facts: Facts) -> Callable:
    """Returns a function to be made a `tf.function`, whose arguments are all tensors.

    Its calls have one name, the key of its facts, which are not deleted unless by `_delete`.
    """
    name = f"{_NAME}_{next(_numbers)}"

    def body(*values: tf.Tensor) -> Any:
        return function(*values)

    body.__name__ = name
    _facts[name] = facts
    return body


def _accepts(rule: Callable, args: tuple, kwargs: dict) -> bool:
    try:
        inspect.signature(rule).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def apply_by_rule(name: str, inputs: list, computed: Callable[[], list]) -> list:
    """Returns the outputs of a called function, by its rule if it has one.

    Args:
        name: Name of the function that is called.
        inputs: Its arguments and the tensors that it captures.
        computed: Returns the outputs of its operations, with which the rule is compared.
    """
    rule = facts(name).jet
    if rule is None or not any(isinstance(x, Jet) for x in inputs):
        return computed()
    unframed = [x.unframed() if isinstance(x, Jet) else x for x in inputs]
    result, exact = rule(*unframed), computed()
    if result is NotImplemented:
        return exact
    results = keras.tree.flatten(result)
    agree = [_agree(primal(y), primal(z)) for y, z in zip(results, exact, strict=True)]
    if not all(known for known in agree if isinstance(known, bool)):
        warn_once(
            rule,
            "A rule of keras_smooth.register_jet_rule returns another value than its function. "
            "The operations of the function are used instead of the rule.",
        )
        return exact
    return [_jet_of_rule(*triple) for triple in zip(results, exact, agree)]


def facts(name: str) -> Facts:
    """Returns the registered facts of a function, by its name in a trace."""
    return _facts.get(_key(name), Facts())


def has_facts(name: str) -> bool:
    """Returns whether a function in a trace has registered facts."""
    return _key(name) in _facts


def _key(name: str) -> str:
    start = name.find(_NAME)
    return name[start:].rpartition("_")[0] if start >= 0 else ""


def _agree(y: tf.Tensor, exact: tf.Tensor) -> Any:
    """Returns whether values differ by rounding only: a boolean, or a tensor in a graph."""
    if not exact.dtype.is_floating:
        return True
    tolerance = _TOLERANCES[exact.dtype.name]
    y, exact = tf.cast(y, "float64"), tf.cast(exact, "float64")
    scale = tf.reduce_max(tf.abs(exact))
    apart = tf.reduce_max(tf.abs(y - exact))
    agree = (apart <= tolerance * scale) | ~tf.math.is_finite(scale)
    return bool(agree) if tf.executing_eagerly() else agree


def _jet_of_rule(y: Any, exact: Any, agree: Any) -> Any:
    """Returns a jet with the value of the function and the derivatives of the rule.

    In a graph the derivatives are NaN if the value of the rule differs.
    """
    if not isinstance(y, Jet):
        return exact
    if isinstance(agree, bool):
        return y.like(primal(exact), y.series)
    zero_or_nan = tf.where(agree, tf.zeros([], y.dtype), tf.constant(float("nan"), y.dtype))
    y = map_entries(y, primal(exact), lambda v: v + zero_or_nan)
    if y.series[0] is None:
        y.series[0] = tf.reshape(zero_or_nan, [1] * (y.shape.rank + 1))
    return y
