"""The trace of a model in one mode, and the layers that contain each operation."""

import collections
import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_smooth import operations, registry
from keras_smooth.differentiation import rules
from keras_smooth.models import calls, graph, own_call, references
from keras_smooth.models.identity import definition
from keras_smooth.operations import registered

LayersByPath = list[tuple[str, keras.Operation]]
# Each layer is traced in a name scope with its number.
_SCOPE = "keras_smooth_part"
_NUMBERS = re.compile(f"{_SCOPE}([0-9]+)")


class Subject(NamedTuple):
    """A model to audit, with its inputs and the order.

    Args:
        model: A model or layer that is built.
        x: Its inputs, a structure of tensors.
        order: The highest order of derivatives.
        samples_only: Whether only the samples in x count, which is so if the user passed x.
    """

    model: keras.layers.Layer
    x: Any
    order: int
    samples_only: bool


@dataclasses.dataclass(frozen=True, eq=False)
class ModelTrace:
    """The trace of a model in one mode.

    Args:
        training: The mode.
        trace: The trace. The name scopes of an operation have the numbers of its layers.
        x: The flat inputs, tensors.
        layers: The model and all layers and keras.Operations in it, by number.
        arguments: By `id(layer)`, for each layer and keras.Operation that is called, the names
            of the tensors that it receives.
    """

    training: bool
    trace: operations.Trace
    x: tuple[tf.Tensor, ...]
    layers: tuple[keras.Operation, ...]
    arguments: dict[int, set[str]]

    @property
    def called(self) -> set[int]:
        """`id(layer)` of the layers and keras.Operations that are called."""
        return set(self.arguments)

    @functools.cached_property
    def moving(self) -> list[bool]:
        """For each input of the model whether it moves: floating-point inputs do."""
        return [x.dtype.is_floating for x in self.x]

    def values(self, x: list) -> list:
        """Returns the inputs of the program from those of the model, tensors or jets."""
        return [*x, *self.trace.captured]

    def layers_around(self, *operations: tf.Operation) -> tuple[keras.Operation, ...]:
        """Returns the layers that contain the operations, the outermost first.

        The operations of a gradient that a model computes count as in the layer with the tape.
        """
        names = [operation.name.partition("gradient_tape/")[0] for operation in operations]
        numbers = (int(number) for name in names for number in _NUMBERS.findall(name))
        return tuple(self.layers[number] for number in numbers)


def trace(model: keras.layers.Layer, x: Any, training: bool) -> ModelTrace:
    """Traces a model.

    Args:
        model: A model or layer that is built.
        x: Its inputs, a structure of tensors.
        training: The mode.

    Raises:
        Exception: Any error of TensorFlow or the model if it cannot be traced.
    """
    layers = tuple(references.layers_within(model))
    flat = tuple(keras.tree.flatten(x))
    arguments: dict[int, set[str]] = collections.defaultdict(set)

    def within_scope(number: int, call: Callable) -> Callable:
        @functools.wraps(call)
        def traced(*args: Any, **kwargs: Any) -> Any:
            leaves = keras.tree.flatten((args, kwargs))
            names = (leaf.name for leaf in leaves if tf.is_symbolic_tensor(leaf))
            arguments[id(layers[number])].update(names)
            with tf.name_scope(f"{_SCOPE}{number}"):
                return call(*args, **kwargs)

        return traced

    def function(*tensors: tf.Tensor) -> Any:
        structure = keras.tree.pack_sequence_as(x, list(tensors))
        return own_call.call(model, structure, training)

    with contextlib.ExitStack() as stack:
        stack.enter_context(registry.reading.marked_parts(model, _facts_of))
        for number, layer in enumerate(layers):
            within = functools.partial(within_scope, number)
            stack.enter_context(calls.replaced_call(layer, within))
        traced = calls.without_side_effects(operations.trace, function, flat)
    return ModelTrace(training, traced, flat, layers, arguments)


def are_same(first: ModelTrace, second: ModelTrace) -> bool:
    """Returns whether two traces of a model have the same operations."""
    operations = (next(iter(each.trace.program.operations)) for each in (first, second))
    before, after = (definition(operation.graph) for operation in operations)
    return before == after


def _facts_of(layer: Any) -> registered.Facts | None:
    """Returns the registered facts of a layer or function, or None if its operations suffice."""
    facts = rules.facts_of(layer)
    if facts is None or facts.jet is not None or facts.tapes_right_to < math.inf:
        return facts
    # The operations of Keras' own activations suffice, and a trace with facts takes longer.
    module = getattr(layer, "__module__", None) or type(layer).__module__
    return None if module.partition(".")[0] == "keras" else facts


def layers_with_rows(model: keras.layers.Layer, called: set[int]) -> LayersByPath:
    """Returns the paths and the layers that have a row in the report.

    A layer that is never called may be used through another method, such as
    `network.velocity(x)`. Then the called layers in it have rows instead, and the code of the
    method counts as the model's own.

    Args:
        model: The model.
        called: `id(layer)` of the layers that are called.
    """
    pairs = [
        pair
        for path, layer in graph.unique(model)
        for pair in list(_called_within(path, layer, called, set())) or [(path, layer)]
    ]
    return list({id(layer): (path, layer) for path, layer in pairs}.values())


def _called_within(
    path: str, layer: keras.Operation, called: set[int], seen: set[int]
) -> Iterator[tuple[str, keras.Operation]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    if id(layer) in called:
        yield path, layer
        return
    for inner in references.layers_held(layer):
        for inner_path, operation in graph.walk(inner, f"{path}/"):
            yield from _called_within(inner_path, operation, called, seen)
