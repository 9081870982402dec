"""Functions of which nothing is known but the operations of TensorFlow that they run."""

from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from keras_smooth import registry
from keras_smooth.models import graph, references

# Operations of TensorFlow with other names than the classes of Keras' operations.
_NAMES = {"Abs": "Absolute", "Rint": "Round", "SelectV2": "Where"}


def rough(model: keras.Model, order: int) -> Iterator[str]:
    """Yields the functions in a model that run operations less smooth than an order."""
    for path, part in graph.unique(model):
        for function, tensor in _functions(part):
            if names := _rough_operations(function, tensor, order):
                name = getattr(function, "__name__", type(function).__name__)
                yield f"{path} ({name}: {', '.join(names)})"


def _functions(part: keras.Operation) -> Iterator[tuple[Callable, tf.TensorSpec]]:
    """Yields the functions of unknown smoothness, and what each is called with."""
    for function in references.functions(part, "activation"):
        if registry.smoothness(function) is None:
            yield function, tf.TensorSpec([None, None], part.compute_dtype)
    if isinstance(part, keras.layers.Lambda) and registry.smoothness(part.function) is None:
        yield part.function, tf.TensorSpec(part.input.shape, part.compute_dtype)


def _rough_operations(function: Callable, tensor: tf.TensorSpec, order: int) -> list[str]:
    try:
        traced = tf.function(function, autograph=False).get_concrete_function(tensor)
    # What cannot be traced with such a tensor says nothing of itself.
    except Exception:
        return []
    types = {each.type for each in traced.graph.get_operations() if _has_floats(each)}
    return sorted(name for name in types if _is_rough(name, order))


def _has_floats(operation: tf.Operation) -> bool:
    return any(output.dtype.is_floating for output in operation.outputs)


def _is_rough(name: str, order: int) -> bool:
    found = registry.operation_of_class(_NAMES.get(name, name))
    if found is None:
        return False
    known = found.smoothness() if callable(found.smoothness) else found.smoothness
    return known is not None and known < order
