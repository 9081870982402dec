"""What a model is made of: its parts, nested models included."""

from collections.abc import Iterator

import keras


def parts(model: keras.Model) -> list | None:
    """Returns the layers and operations that a model is composed of, None if unknown."""
    kind = graph_class(model)
    if kind is None:
        return None
    return model.layers if kind is keras.Sequential else model.operations


def graph_class(model: object) -> type | None:
    """Returns keras.Sequential or keras.Function if a model keeps its `call`, else None."""
    for parent in (keras.Sequential, keras.Function):
        kinds = [k for k in type(model).__mro__ if issubclass(k, parent)]
        kinds = [k for k in kinds if issubclass(k, keras.Model)]
        if kinds and type(model).call is kinds[-1].call:
            return parent
    return None


def is_composed(part: object) -> bool:
    """Returns whether a part is a model made of parts that can be looked at."""
    return isinstance(part, keras.Model) and bool(inner(part))


def is_graph(part: object) -> bool:
    """Returns whether a part is a Sequential or Functional model with Keras' `call`."""
    return graph_class(part) is not None


def is_plain(part: object) -> bool:
    """Returns whether a part is nothing but its layers: no model in it has its own `call`."""
    return not is_composed(part) or is_graph(part) and all(map(is_plain, inner(part)))


def inner(model: keras.Model) -> list:
    found = parts(model) or getattr(model, "operations", model.layers)
    return [part for part in found if not isinstance(part, keras.layers.InputLayer)]


def walk(model: keras.Operation, prefix: str = "") -> Iterator[tuple[str, keras.Operation]]:
    """Yields the path and the part for each layer of a model, nested models included."""
    if not is_composed(model):
        yield prefix + model.name, model
        return
    for part in inner(model):
        yield from walk(part, f"{prefix}{part.name}/" if is_composed(part) else prefix)


def unique(model: keras.Operation) -> list[tuple[str, keras.Operation]]:
    """Returns `walk(model)` with each shared layer once."""
    return list({id(part): (path, part) for path, part in walk(model)}.values())
