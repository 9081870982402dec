"""The smoothness of functions, layers and models, from the operations that TensorFlow traces."""

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
from keras_smooth.operations.leaves import chosen_leaves
from keras_smooth.operations.registered import Facts
from keras_smooth.registry import functions_of_keras, layers
from keras_smooth.registry.rows import Class, row, unbound, version


@dataclasses.dataclass(frozen=True)
class Reading:
    """The facts on a function that follow from its operations.

    Args:
        smoothness: k of the class C^k, None if unknown.
        tapes_right_to: The order up to which TensorFlow's own derivatives are right.
        classes: Kind and class of each operation on the paths from inputs to outputs.
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
        subject: Any object; a function may have fixed parameters, as by `functools.partial`.
    """
    subject = layers.as_activation(subject) or subject
    key, parameters = subject, unbound(subject)[1]
    layer: tuple = ()
    if isinstance(subject, keras.layers.Layer):
        # Not the rows of base classes: a subclass may compute something else.
        key, layer, parameters = type(subject), (subject,), {}
    elif isinstance(subject, keras.Operation):
        function = functions_of_keras.function_of(subject)
        key = function or type(subject)
        parameters = functions_of_keras.settings(subject, function) if function else {}
    registered_row = row(key)
    return None if registered_row is None else registered_row.facts(*layer, **parameters)


def _hidden_facts(subject: Any) -> Facts | None:
    """Returns the registered facts, or None if the operations of a function show the same class."""
    subject = layers.as_activation(subject) or subject
    facts = facts_of(subject)
    is_function = not isinstance(subject, keras.Operation)
    if facts is None or facts.jet is not None or not is_function:
        return facts
    function, parameters = unbound(subject)
    key = function, repr(sorted(parameters.items()))
    if key not in _visible_smoothness:
        reading = _read_first_accepted(subject, lambda layer: None)
        _visible_smoothness[key] = reading.smoothness
    return None if _visible_smoothness[key] == facts.smoothness else facts


# By function and parameters, the smoothness that follows from the operations alone.
_visible_smoothness: dict[tuple, Class] = {}


# Readings of subjects, with the version and the identity for which they are valid.
_stored: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def read(subject: Any) -> Reading:
    """Returns the reading of a function, layer, operation or model.

    A layer or model is traced with the input shapes with which it was built, an operation with
    those of its graph, and a function with the first of several usual shapes that it accepts.
    """
    subject_identity = identity(subject)
    key = None if subject_identity is None else (version(), subject_identity)
    if key is not None and _stored.get(subject, (None,))[0] == key:
        return _stored[subject][1]
    result = _read_first_accepted(subject, _hidden_facts)
    if key is not None:
        _stored[subject] = key, result
    return result


def _read_first_accepted(subject: Any, facts_of: Callable) -> Reading:
    """Returns the reading for the first inputs that a subject accepts."""
    for get_callable, args in _candidates(subject):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return read_call(get_callable(), args, {}, facts_of)
        # Inputs of a wrong shape or dtype can raise any error.
        except Exception:
            continue
    return Reading()


def read_call(
    subject: Any, args: tuple, kwargs: dict, facts_of: Callable = _hidden_facts
) -> Reading:
    """Returns the reading of one call.

    Args:
        subject: The function, layer or model that is called.
        args: Its arguments, whose tensors are symbolic or `tf.TensorSpec`.
        kwargs: Its keyword arguments, likewise.
        facts_of: A function that returns the registered facts of a layer or function.
    """
    symbols, filled = chosen_leaves((args, kwargs), _is_symbol)
    symbols = list(map(_specification, symbols))
    mode = own_call.in_mode(subject, False)

    with marked_parts(subject, facts_of) as marked:

        def function(*tensors: tf.Tensor) -> Any:
            positional, keywords = filled(tensors)
            return marked(*positional, **{**mode, **keywords})

        traced = calls.without_side_effects(operations.trace, function, symbols)
    return _read_program(traced, [symbol.dtype.is_floating for symbol in symbols])


@contextlib.contextmanager
def marked_parts(subject: Any, facts_of: Callable) -> Iterator[Callable]:
    """Marks the calls of layers and functions with registered facts while a subject is traced.

    A marked call is traced as a separate function with a unique name, the key of its facts. At the
    end of the context, the layers have their own calls and activations again.

    Args:
        subject: The function, layer or model that is traced.
        facts_of: A function that returns the `Facts` of a layer, an operation or a function,
            or None.

    Yields:
        The function to trace in place of the subject.
    """
    is_part = isinstance(subject, keras.Operation)
    with contextlib.ExitStack() as stack:
        for layer in references.layers_within(subject) if is_part else ():
            activation = getattr(layer, "activation", None)
            attributes = {"call": (layer.call, facts_of(layer))}
            if not isinstance(activation, keras.Operation):
                attributes["activation"] = activation, facts_of(activation)
            for name, (function, facts) in attributes.items():
                if facts is not None:
                    call = registered.with_facts(function, facts)
                    stack.enter_context(calls.temporary_attribute(layer, name, call))
        facts = None if is_part else facts_of(subject)
        yield subject if facts is None else registered.with_facts(subject, facts)


def _read_program(traced: operations.Trace, floats: list[bool]) -> Reading:
    if operations.assignment_that_moves(traced.program, floats) is not None:
        return Reading()
    right_to = operations.tapes_right_to(traced.program, floats)
    # A function of integers has no derivatives.
    k = operations.smoothness(traced.program, floats, at_edges=True) if any(floats) else -1
    classes = operations.classes(traced.program, floats, at_edges=True)
    return Reading(k, right_to, tuple((operation.type, k) for operation, k in classes))


def _is_symbol(leaf: Any) -> bool:
    return isinstance(leaf, tf.TensorSpec) or keras.backend.is_keras_tensor(leaf)


def _specification(symbol: Any) -> tf.TensorSpec:
    """Returns the shape, with numbers for unknown sizes, and the dtype of a symbolic tensor."""
    shape = tuple(symbol.shape)
    shape = sample_inputs.closed_shape(shape) if None in shape else shape
    return tf.TensorSpec(shape, symbol.dtype)


def _candidates(subject: Any) -> Iterator[tuple[Callable, tuple]]:
    """Yields pairs: a function that returns the subject, built if needed, and arguments to try."""
    if isinstance(subject, keras.layers.Layer):
        is_model = isinstance(subject, keras.Model) and subject.built
        structure = sample_inputs.of_graph(subject) if is_model else None
        inputs = sample_inputs.of_layer(subject) if structure is None else [(structure,)]
        for args in inputs:
            yield functools.partial(_built, subject, args), args
    elif isinstance(subject, keras.Operation):
        symbols = keras.tree.flatten(subject.input)
        missing = _number_of_arguments(subject.call) - len(symbols)
        yield lambda: subject, (*symbols, *[symbols[0]] * missing)
    else:
        number = _number_of_arguments(subject)
        for symbol in sample_inputs.of_function():
            yield lambda: subject, (symbol,) * number


def _built(layer: keras.layers.Layer, args: tuple) -> keras.layers.Layer:
    """Returns a layer if it is built, else a copy that is built for the arguments."""
    if own_call.is_built(layer):
        return layer
    copy = copies.fresh_copy(layer)
    copy(*keras.tree.map_structure(sample_inputs.as_input, args))
    return copy


def _number_of_arguments(function: Callable) -> int:
    """Returns the number of positional arguments without defaults, at least 1."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.default is p.empty and p.kind in kinds]
    return max(len(needed), 1)
