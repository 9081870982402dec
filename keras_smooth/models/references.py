"""Functions that a layer holds, carried through its config by identity.

A config has only the name of a function, or the code of a lambda. When a layer is created from
it, the name may refer to another function, or to none. So while a config is created, functions
of a layer are replaced by placeholders with unique names, which then refer to the functions.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_smooth.models import calls

_numbers = itertools.count()
# Otherwise two threads could replace attributes of one layer and restore wrong values.
_lock = threading.RLock()
# The ends of the names of attributes that hold functions of weights.
_WEIGHT_FUNCTIONS = ("constraint", "initializer", "regularizer")


class References:
    """The functions of a layer, by the names of their placeholders in its config.

    Args:
        layer: Layer or keras.Operation.
        substitute: Returns the replacement of a function, or of a layer that is used as an
            activation; by default itself. Functions of weights are not replaced.
    """

    def __init__(self, layer: keras.Operation, substitute: Callable = lambda value: value):
        self.objects = {}
        self._layer = layer
        self._substitute = substitute
        self._placeholders = {}
        self._substitutes: list[Callable] = []
        # If a function has no replacement, the error is raised here, before any change.
        list(self._attribute_changes())

    def config(self, value: Any) -> dict:
        """Returns the config of a placeholder, from which the value itself is restored."""
        return keras.saving.serialize_keras_object(self._placeholder(value, value))

    def without_placeholders(self, config: Any) -> Any:
        """Returns a config in which placeholders are replaced by the original objects."""
        if isinstance(config, dict):
            return {key: self.without_placeholders(value) for key, value in config.items()}
        if type(config) in (list, tuple):
            return type(config)(map(self.without_placeholders, config))
        name = getattr(config, "__name__", None) if callable(config) else None
        return self.objects.get(name, config)

    def lacks_substitutes(self, config: Any) -> bool:
        """Returns whether a config lacks a function that has a substitute."""
        leaves, text = {id(leaf) for _, leaf in leaves_by_path(config)}, str(config)
        names = [placeholder.__name__ for placeholder in self._substitutes]
        return any(
            name not in text and id(self.objects[name]) not in leaves for name in names
        )

    def restore(self, layer: keras.Operation, copy: keras.Operation) -> None:
        """Restores functions of a copy that its constructor has looked up by name again.

        A function with the same code, which the constructor has created for this copy, is kept.
        """
        for name, value in list(vars(layer).items()):
            placeholder = self._placeholders.get(id(value))
            new = vars(copy).get(name)
            if placeholder is None or not is_function(value) or not is_function(new):
                continue
            original = self.objects[placeholder.__name__]
            same_code = getattr(new, "__code__", None) is getattr(value, "__code__", value)
            if original is not value or not same_code:
                vars(copy)[name] = original

    @contextlib.contextmanager
    def with_placeholders(self) -> Iterator[None]:
        """Temporarily replaces functions in the layer, and in all layers in it, by placeholders.

        A placeholder calls its function.
        """
        with _lock, contextlib.ExitStack() as stack:
            for change in list(self._attribute_changes()):
                stack.enter_context(calls.temporary_attribute(*change))
            yield

    def _attribute_changes(self) -> Iterator[tuple]:
        for layer in layers_within(self._layer):
            for name, value in vars(layer).items():
                # Keras stores wrapped methods as attributes.
                if callable(getattr(type(layer), name, None)):
                    continue
                new = self._with_placeholders(value, name)
                if new is not value:
                    yield layer, name, new

    def _with_placeholders(self, value: Any, name: str) -> Any:
        if is_function(value, name.endswith("activation")):
            if id(value) not in self._placeholders:
                of_weights = name.endswith(_WEIGHT_FUNCTIONS)
                new = value if of_weights else self._substitute(value)
                self._placeholders[id(value)] = placeholder = self._placeholder(value, new)
                if new is not value and not isinstance(value, keras.Operation):
                    self._substitutes.append(placeholder)
            return self._placeholders[id(value)]
        if isinstance(value, dict):
            items = {k: self._with_placeholders(item, name) for k, item in value.items()}
            return items if any(items[k] is not value[k] for k in items) else value
        if isinstance(value, list) or type(value) is tuple:
            new = [self._with_placeholders(item, name) for item in value]
            if any(a is not b for a, b in zip(new, value, strict=True)):
                return tuple(new) if isinstance(value, tuple) else new
        return value

    def _placeholder(self, value: Callable, original: Any) -> Callable:
        def reference(*args: Any, **kwargs: Any) -> Any:
            return value(*args, **kwargs)

        name = f"keras_smooth_reference_{next(_numbers)}"
        reference.__name__ = reference.__qualname__ = name
        self.objects[name] = original
        return reference


def functions(layer_or_model: keras.Operation, suffix: str = "") -> list[Callable]:
    """Returns the functions that a layer and the layers in it hold, in the order of their names.

    Args:
        layer_or_model: Layer, model or keras.Operation.
        suffix: The end of the names of the attributes to search.
    """
    layers = layers_within(layer_or_model)
    return [function for layer in layers for function in own_functions(layer, suffix)]


def own_functions(layer: keras.Operation, suffix: str = "") -> list[Callable]:
    """Returns the functions that a layer itself holds, in the order of their names.

    Args:
        layer: Layer, model or keras.Operation.
        suffix: The end of the names of the attributes to search.
    """
    held: list[Callable] = []
    for name in sorted(name for name in vars(layer) if name.endswith(suffix)):
        if not callable(getattr(type(layer), name, None)):
            values = (value for _, value in leaves_by_path(vars(layer)[name]))
            held += filter(is_function, values)
    return held


def layers_within(layer: keras.Operation) -> list[keras.Operation]:
    """Returns a layer and all layers and operations that it holds, at any depth, each once."""
    layers = {id(layer): layer}
    stack = [layer]
    while stack:
        for inner in layers_held(stack.pop()):
            if id(inner) not in layers:
                layers[id(inner)] = inner
                stack.append(inner)
    return list(layers.values())


def layers_held(layer: keras.Operation) -> list[keras.Operation]:
    """Returns the layers and operations that are attributes of a layer, or in lists or dicts."""
    values = (value for _, value in leaves_by_path(vars(layer)))
    return [value for value in values if isinstance(value, keras.Operation)]


def leaves_by_path(value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Yields the path and value of each leaf of nested dicts, lists and tuples.

    `keras.tree` cannot be used: it sorts the keys of dicts, and some dicts have keys of several
    types.
    """
    is_list = isinstance(value, list | tuple)
    if not is_list and not isinstance(value, dict):
        yield path, value
        return
    for key, item in enumerate(value) if is_list else value.items():
        yield from leaves_by_path(item, (*path, key))


def is_function(value: Any, as_activation: bool = False) -> bool:
    if isinstance(value, keras.Operation):
        return as_activation
    # A callable with variables of its own, such as a metric, is state and not a function.
    if not callable(value) or isinstance(value, type) or hasattr(value, "variables"):
        return False
    return not isinstance(getattr(value, "__self__", None), keras.Operation)
