"""Smoothness, from the operations that TensorFlow traces."""

import contextlib
import dataclasses
import functools
import inspect
import math
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.models import calls, copies, own_call, references, sample_inputs
from keras_smooth.models.identity import identity
from keras_smooth.operations import registered
from keras_smooth.operations.registered import Facts
from keras_smooth.operations.trace import chosen_leaves
from keras_smooth.registry import functions_of_keras, layers
from keras_smooth.registry.rows import Class, row, unbound, version


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the operations of a function show.

    Args:
        smoothness: k of the class C^k, None if unknown.
        tapes_right_to: The order up to which TensorFlow's own derivatives are right.
        classes: The kinds of the operations between inputs and outputs, with their classes.
    """

    smoothness: Class = None
    tapes_right_to: float = math.inf
    classes: tuple[tuple[str, Class], ...] = ()

    def rough(self, order: float) -> list[str]:
        """Returns the kinds of operations that are less smooth than an order, or unknown."""
        return sorted({kind for kind, k in self.classes if k is None or k < order})


def facts_of(subject: Any) -> Facts | None:
    """Returns the registered facts of a function, layer or operation.

    Args:
        subject: Anything; a function may have parameters, as of `functools.partial`.
    """
    known, parameters = _row_and_parameters(subject)
    if known is None:
        return None
    smoothness, rule = known.smoothness, known.jet
    if callable(smoothness):
        smoothness = smoothness(**parameters)
    if rule is not None and parameters:
        rule = functools.partial(rule, **parameters)
    return Facts(rule, known.tapes_right_to, smoothness)


def _marks_of(subject: Any) -> Facts | None:
    """Returns the registered facts, without those that the operations of a function show."""
    if activation := layers.as_activation(subject):
        subject = functools.partial(activation[0], **activation[1])
    facts = facts_of(subject)
    is_function = not isinstance(subject, keras.Operation)
    if facts is None or facts.jet is not None or not is_function:
        return facts
    function, parameters = unbound(subject)
    key = function, repr(sorted(parameters.items()))
    if key not in _told:
        _told[key] = _first(subject, lambda layer: None).smoothness
    return None if _told[key] == facts.smoothness else facts


# What the operations of functions show.
_told: dict[tuple, Class] = {}


def _row_and_parameters(subject: Any) -> tuple:
    if activation := layers.as_activation(subject):
        return row(activation[0]), activation[1]
    if isinstance(subject, keras.layers.Layer):
        # The exact class only: a subclass may compute something else.
        known = row(type(subject))
        if known is None or not callable(known.smoothness):
            return known, {}
        k = known.smoothness(subject)
        return dataclasses.replace(known, smoothness=k), {}
    if isinstance(subject, keras.Operation):
        function = functions_of_keras.function_of(subject)
        if function is None:
            return row(type(subject)), {}
        return row(function), functions_of_keras.settings(subject, function)
    return row(subject), unbound(subject)[1]


# Readings of layers, kept as long as the layer does not change.
_kept: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def read(subject: Any) -> Reading:
    """Returns what the operations of a function, layer, operation or model show.

    They are traced for inputs of the shapes that a layer or model was built with, that an
    operation has in its graph, or of some that suit a function.
    """
    known = identity(subject)
    key = None if known is None else (version(), known)
    if key is not None and _kept.get(subject, (None,))[0] == key:
        return _kept[subject][1]
    result = _first(subject, _marks_of)
    if key is not None:
        _kept[subject] = key, result
    return result


def _first(subject: Any, marks_of: Callable) -> Reading:
    """Returns the reading for the first inputs that a subject accepts."""
    for ready, args in _candidates(subject):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return of_call(ready(), args, {}, marks_of)
        # Inputs that do not fit can raise any error.
        except Exception:
            continue
    return Reading()


def of_call(
    subject: Any, args: tuple, kwargs: dict, marks_of: Callable = _marks_of
) -> Reading:
    """Returns what the operations of a call show.

    Args:
        subject: The function, layer or model that is called.
        args: Its arguments, with symbols in place of tensors.
        kwargs: Its keyword arguments, with symbols in place of tensors.
        marks_of: A function that returns the registered facts of a part.
    """
    symbols, filled = chosen_leaves((args, kwargs), _is_symbol)
    symbols = list(map(_specification, symbols))
    mode = own_call.in_mode(subject, False)

    with named(subject, marks_of) as with_facts:

        def function(*tensors: tf.Tensor) -> Any:
            positional, keywords = filled(tensors)
            return with_facts(*positional, **{**mode, **keywords})

        traced = calls.without_trace(operations.trace, function, symbols)
    return _of_program(traced, [symbol.dtype.is_floating for symbol in symbols])


@contextlib.contextmanager
def named(subject: Any, facts_of: Callable) -> Iterator[Callable]:
    """Lets what is known run under names of its own, as long as something is traced.

    Args:
        subject: What is traced; the parts of it keep what they call, but for that time.
        facts_of: Gives the `Facts` of a layer, an operation or a function, or None.

    Yields:
        What to trace in its place.
    """
    is_part = isinstance(subject, keras.Operation)
    with contextlib.ExitStack() as stack:
        for layer in references.layers_within(subject) if is_part else ():
            activation = getattr(layer, "activation", None)
            held = {"call": (layer.call, facts_of(layer))}
            if not isinstance(activation, keras.Operation):
                held["activation"] = activation, facts_of(activation)
            for name, (function, facts) in held.items():
                if facts is not None:
                    call = registered.with_facts(function, facts)
                    stack.enter_context(calls.temporary_attribute(layer, name, call))
        facts = None if is_part else facts_of(subject)
        yield subject if facts is None else registered.with_facts(subject, facts)


def _of_program(traced: operations.Trace, floats: list[bool]) -> Reading:
    moving = [*floats, *[False] * len(traced.captured)]
    if operations.assignment_that_moves(traced.program, moving) is not None:
        return Reading()
    right_to = operations.tapes_right_to(traced.program, moving)
    # A function of integers only has no derivative.
    k = operations.smoothness(traced.program, moving, at_edges=True) if any(floats) else -1
    classes = operations.classes(traced.program, moving, at_edges=True)
    return Reading(k, right_to, tuple((each.type, k) for each, k in classes))


def _is_symbol(leaf: Any) -> bool:
    return isinstance(leaf, tf.TensorSpec) or keras.backend.is_keras_tensor(leaf)


def _specification(symbol: Any) -> tf.TensorSpec:
    """Returns a tensor's shape without open sizes, and its dtype."""
    shape = tuple(symbol.shape)
    shape = sample_inputs.closed_shape(shape) if None in shape else shape
    return tf.TensorSpec(shape, symbol.dtype)


def _candidates(subject: Any) -> Iterator[tuple[Callable, tuple]]:
    """Yields functions that give what to call, and arguments to try, in which symbols stand
    for tensors."""
    if isinstance(subject, keras.layers.Layer):
        is_model = isinstance(subject, keras.Model) and subject.built
        structure = sample_inputs.of_graph(subject) if is_model else None
        inputs = sample_inputs.of_layer(subject) if structure is None else [(structure,)]
        for args in inputs:
            yield functools.partial(_ready, subject, args), args
    elif isinstance(subject, keras.Operation):
        given = keras.tree.flatten(subject.input)
        missing = _number_of_arguments(subject.call) - len(given)
        yield lambda: subject, (*given, *[given[0]] * missing)
    else:
        number = _number_of_arguments(subject)
        for symbol in sample_inputs.of_function():
            yield lambda: subject, (symbol,) * number


def _ready(layer: keras.layers.Layer, args: tuple) -> keras.layers.Layer:
    """Returns a layer, or a copy that is built for the arguments if it is not built."""
    if own_call.is_built(layer):
        return layer
    copy = copies.fresh_copy(layer)
    copy(*keras.tree.map_structure(sample_inputs.as_input, args))
    return copy


def _number_of_arguments(function: Callable) -> int:
    """Returns the number of tensors that a function needs, at least one."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.default is p.empty and p.kind in kinds]
    return max(len(needed), 1)
