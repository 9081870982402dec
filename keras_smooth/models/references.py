"""Functions that a layer holds, carried through its config by identity.

A config says of a function no more than its name, and of a lambda its code: whoever reads
it may find another of the same name, or none. While a config is made, every function that a
layer and its parts hold is replaced by a stand-in of a name of its own, and while it is
read, that name leads to the function.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_smooth.models import calls

_numbers = itertools.count()
# Two threads that replace attributes of one layer would put each other's back.
_lock = threading.RLock()
# Attributes that hold functions of weights.
_OF_WEIGHTS = ("constraint", "initializer", "regularizer")


class References:
    """The functions of a part by the names that stand for them in its config.

    Args:
        part: Layer or operation.
        substitute: Returns the object to find in the place of a function, or of a layer
            that serves as an activation: by default itself. Functions of weights stay.
    """

    def __init__(self, layer: keras.Operation, substitute: Callable = lambda value: value):
        self.objects = {}
        self._part = layer
        self._substitute = substitute
        self._stand_ins = {}
        # What has no substitute raises here, before anything is changed.
        list(self._changes())

    def config(self, value: Any) -> dict:
        """Returns a config that is read as the object itself."""
        return keras.saving.serialize_keras_object(self._stand_in(value, value))

    def resolved(self, config: Any) -> Any:
        """Returns a config with the objects where it has their stand-ins as they are."""
        if isinstance(config, dict):
            return {key: self.resolved(value) for key, value in config.items()}
        if type(config) in (list, tuple):
            return type(config)(map(self.resolved, config))
        name = getattr(config, "__name__", None) if callable(config) else None
        return self.objects.get(name, config)

    def restore(self, layer: keras.Operation, copy: keras.Operation) -> None:
        """Puts functions right that a constructor has read from a config once more.

        Functions of the same code are the constructor's own, each for its layer.
        """
        for name, value in list(vars(layer).items()):
            stand_in = self._stand_ins.get(id(value))
            now = vars(copy).get(name)
            if stand_in is None or not is_function(value) or not is_function(now):
                continue
            original = self.objects[stand_in.__name__]
            same = getattr(now, "__code__", None) is getattr(value, "__code__", value)
            if original is not value or not same:
                vars(copy)[name] = original

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Has the part and all its parts hold stand-ins, which call what they stand for."""
        with _lock, contextlib.ExitStack() as stack:
            for change in list(self._changes()):
                stack.enter_context(calls.attribute(*change))
            yield

    def _changes(self) -> Iterator[tuple]:
        for layer in parts_within(self._part):
            for name, value in vars(layer).items():
                # Keras keeps wrapped methods among the attributes.
                if callable(getattr(type(layer), name, None)):
                    continue
                new = self._replaced(value, name)
                if new is not value:
                    yield layer, name, new

    def _replaced(self, value: Any, name: str) -> Any:
        if is_function(value, name.endswith("activation")):
            if id(value) not in self._stand_ins:
                of_weights = name.endswith(_OF_WEIGHTS)
                made = self._stand_in(
                    value, value if of_weights else self._substitute(value)
                )
                self._stand_ins[id(value)] = made
            return self._stand_ins[id(value)]
        if isinstance(value, dict):
            items = {k: self._replaced(item, name) for k, item in value.items()}
            return items if any(items[k] is not value[k] for k in items) else value
        if isinstance(value, list) or type(value) is tuple:
            new = [self._replaced(item, name) for item in value]
            if any(a is not b for a, b in zip(new, value, strict=True)):
                return tuple(new) if isinstance(value, tuple) else new
        return value

    def _stand_in(self, value: Callable, original: Any) -> Callable:
        def reference(*args: Any, **kwargs: Any) -> Any:
            return value(*args, **kwargs)

        name = f"keras_smooth_reference_{next(_numbers)}"
        reference.__name__ = reference.__qualname__ = name
        self.objects[name] = original
        return reference


def functions(layer_or_model: keras.Operation, suffix: str = "") -> list[Callable]:
    """Returns the functions that a part and its parts hold, in the order of their names.

    Args:
        layer_or_model: Layer or operation.
        suffix: How the names of the attributes end in which they are.
    """
    functions_of_layer = []
    for layer in parts_within(layer_or_model):
        for name in sorted(name for name in vars(layer) if name.endswith(suffix)):
            if not callable(getattr(type(layer), name, None)):
                values = (value for _, value in leaves(vars(layer)[name]))
                functions_of_layer += filter(is_function, values)
    return functions_of_layer


def parts_within(layer: keras.Operation) -> list[keras.Operation]:
    """Returns a part and all layers and operations that it holds, each once."""
    layers = {id(layer): layer}
    waiting = [layer]
    while waiting:
        for inner in held(waiting.pop()):
            if id(inner) not in layers:
                layers[id(inner)] = inner
                waiting.append(inner)
    return list(layers.values())


def held(layer: keras.Operation) -> list[keras.Operation]:
    """Returns the layers and operations that are attributes of a part, or in one."""
    return [each for _, each in leaves(vars(layer)) if isinstance(each, keras.Operation)]


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Yields path and value of what is in nested dicts, lists and tuples.

    Those of Keras sort the keys of dicts, which may be of several kinds.
    """
    is_list = isinstance(value, list | tuple)
    if not is_list and not isinstance(value, dict):
        yield path, value
        return
    for key, item in enumerate(value) if is_list else value.items():
        yield from leaves(item, (*path, key))


def is_function(value: Any, as_activation: bool = False) -> bool:
    if isinstance(value, keras.Operation):
        return as_activation
    # What has variables of its own, as a metric has, is state and no function.
    if not callable(value) or isinstance(value, type) or hasattr(value, "variables"):
        return False
    return not isinstance(getattr(value, "__self__", None), keras.Operation)
