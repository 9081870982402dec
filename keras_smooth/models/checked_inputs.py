"""Validation of a model and of its inputs x, with one set of messages."""

import contextlib
import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import function, shown
from keras_smooth.models import graph, references
from keras_smooth.models.calls import is_determined_by_config
from keras_smooth.models.own_call import is_built
from keras_smooth.presentation.counts import counted


@dataclasses.dataclass(frozen=True)
class Input:
    """One of the arrays in x.

    Args:
        name: Its key in x, or the name of the model's input, or its index.
        word: Its name in messages.
        tensor: Its values.
        expected: The input that the model expects there, or None if unknown.
    """

    name: str | int
    word: str
    tensor: tf.Tensor
    expected: keras.KerasTensor | None

    @property
    def is_float(self) -> bool:
        return self.tensor.dtype.is_floating

    @property
    def expects_floats(self) -> bool:
        return self.expected is None or "float" in self.expected.dtype


def check_callable(model: object, name: str = "`model`") -> None:
    """Raises an error if a model cannot be called on points yet.

    Args:
        model: The model.
        name: The name of the argument in messages.
    """
    if not callable(model):
        raise TypeError(
            f"{name} must be a model, a layer or a function, received {shown(model)}."
        )
    if not isinstance(model, keras.layers.Layer):
        function(name, model, "x")
    elif isinstance(model, keras.Model) and not is_built(model):
        raise ValueError(
            f"{name}: {model.name!r} is not built: it has no weights yet. Give it an "
            "Input, or call it once on data."
        )


def check_not_quantized(model: object) -> None:
    """Raises an error if a layer rounds its inputs to a few bits, as after `model.quantize`.

    The outputs of such a layer are steps, without derivatives. Keras declares other gradients.
    A layer that rounds only its weights, as Keras' int4, is a smooth function of its inputs.
    """
    for layer in _layers(model):
        mode = getattr(layer, "quantization_mode", None)
        if mode is not None and getattr(layer, "inputs_quantizer", mode) is not None:
            raise ValueError(
                f"The layer {layer.name!r} is quantized ({mode}): its outputs are steps, which "
                "have no derivatives. Use the model as it was before `quantize`, from a file "
                "or `keras.models.clone_model` before it."
            )


def _layers(model: object) -> list:
    """Returns the layers that a model calls, including those inside layers of a user."""
    if graph.is_graph(model):
        return [layer for item in graph.inner(model) for layer in _layers(item)]
    if not isinstance(model, keras.Operation):
        return []
    if is_determined_by_config(type(model)) and not isinstance(model, keras.Model):
        return [model, *(layer for item in graph.wrapped(model) for layer in _layers(item))]
    return references.layers_within(model)


def is_structure(x: Any) -> bool:
    """Returns whether x is a structure of several arrays; a list of numbers is one array."""
    return keras.tree.is_nested(x) and not all(
        isinstance(leaf, (int, float)) for leaf in keras.tree.flatten(x)
    )


def flat(x: Any) -> list:
    """Returns the arrays in x."""
    return keras.tree.flatten(x) if is_structure(x) else [x]


def packed_as(x: Any, leaves: list) -> Any:
    """Returns the structure of x with other leaves instead of its arrays."""
    return keras.tree.pack_sequence_as(x, leaves) if is_structure(x) else leaves[0]


def inputs(model: Any, x: Any) -> list[Input]:
    """Returns the arrays in x, after checking that they fit the model."""
    leaves = flat(x)
    expected = _expected_inputs(model, x, len(leaves))
    inputs_of_model = []
    for name, leaf, tensor in zip(_names(x, expected), leaves, expected, strict=True):
        word = f"x[{name!r}]" if is_structure(x) else "x"
        inputs_of_model.append(Input(name, word, _batch(word, leaf), tensor))
    _check_shapes(model, inputs_of_model)
    return list(map(_with_expected_shape, inputs_of_model))


def _with_expected_shape(each: Input) -> Input:
    """Returns an input with the shape that the model expects, if its own is not fully known."""
    if each.expected is None or each.tensor.shape[1:].is_fully_defined():
        return each
    tensor = tf.ensure_shape(each.tensor, [None, *each.expected.shape[1:]])
    return dataclasses.replace(each, tensor=tensor)


def tensors(model: Any, x: Any) -> Any:
    """Returns x as tensors in its structure, after checking that they fit the model."""
    return packed_as(x, [each.tensor for each in inputs(model, x)])


@contextlib.contextmanager
def explained_batch(
    model: Any, num_samples: int | None, batch_size: int | None = None
) -> Iterator[None]:
    """Explains an error of a model with a fixed batch size that is called with another one.

    Some models with a fixed size can compute other sizes, so no size is rejected in advance.

    Args:
        model: Model, layer or function.
        num_samples: The number of samples, or None if it is not known yet.
        batch_size: The number of samples that are computed at a time; None is all.

    Raises:
        ValueError: The error of the model, with the explanation.
    """
    try:
        yield
    except (ValueError, tf.errors.OpError) as error:
        expected = fixed_batch_size(model)
        is_whole = batch_size is None or num_samples is None or batch_size >= num_samples
        if expected is None or (num_samples in (None, expected) and is_whole):
            raise
        at_a_time, hint = "", ""
        expected_samples = counted(expected, "sample")
        if batch_size is not None:
            at_a_time, hint = f" and batch_size={batch_size}", ", without `batch_size`"
        raise ValueError(
            f"{first_line(error)}\n"
            f"{model.name!r} is built for batches of {expected_samples}, and received "
            f"{counted(num_samples or 0, 'sample')}{at_a_time}. Pass {expected_samples} at once{hint}; "
            "or build it for batches of any size, which stateful layers cannot have."
        ) from error


def first_line(error: Exception) -> str:
    """Returns the first line of a message that says what failed, or the type of the error.

    Lines before it may have the layer, by Keras, or the places in the code, by TensorFlow.
    """
    text = re.sub(r"\x1b\[\d+m|\{\{.*?\}\} ?", "", str(error))
    lines = [line.strip() for line in text.splitlines()]
    places = [n for n, line in enumerate(lines) if line.startswith('File "')]
    # The line after a place is the code there.
    lines = lines[places[-1] + 2 :] if places else lines
    known = (line for line in lines if line and "Exception encountered when" not in line)
    return next(known, type(error).__name__)


def fixed_batch_size(model: Any) -> int | None:
    """Returns the batch size that a model is built for, or None for any size."""
    if isinstance(model, keras.Model) and getattr(model, "inputs", None):
        return model.inputs[0].shape[0]
    if getattr(model, "stateful", None) is not True:
        return None
    states = keras.tree.flatten(getattr(model, "states", None))
    return next((state.shape[0] for state in states if state is not None), None)


def _expected_inputs(model: Any, x: Any, number: int) -> list:
    """Returns the inputs that a model expects, in the order of x, None if unknown."""
    known = getattr(model, "inputs", None) if isinstance(model, keras.Model) else None
    if not known:
        spec = getattr(model, "input_spec", None)
        if isinstance(spec, keras.layers.InputSpec) and number > 1:
            raise ValueError(
                f"The layer {model.name!r} takes one input, received {number} in x."
            )
        return [None] * number
    if not isinstance(x, dict):
        if number != len(known):
            names = listed(tensor.name for tensor in known)
            raise ValueError(
                f"The model {model.name!r} takes {counted(len(known), 'input')} ({names}), "
                f"received {number} in "
                "x. Give several as a list or a dict of arrays."
            )
        return list(known)
    by_name = {tensor.name: tensor for tensor in known}
    # A Sequential model that has not been called has no `input`.
    structure = getattr(model, "input", None)
    by_key = structure if isinstance(structure, dict) else by_name
    if set(x) != set(by_key):
        raise ValueError(
            f"The model {model.name!r} takes the inputs {listed(by_key)}, received x as a "
            f"dict with {listed(x) or 'nothing'}: none may be missing and none left over."
        )
    known = {key: by_key[key] for key in x}
    try:
        keras.tree.assert_same_structure(known, x)
    except (TypeError, ValueError):
        raise ValueError(
            f"The model {model.name!r} takes inputs of the structure {outline(known)}, "
            f"received x with the inputs {listed(_paths(x))}."
        ) from None
    return keras.tree.flatten(known)


def listed(names: Iterable[object]) -> str:
    """Returns names separated by commas, for a message."""
    return ", ".join(map(repr, names))


def _names(x: Any, expected: list) -> list:
    if isinstance(x, dict):
        return _paths(x)
    if None not in expected:
        return [tensor.name for tensor in expected]
    return list(range(len(expected)))


def _paths(x: dict) -> list:
    """Returns the key of each leaf, or the path of keys of a nested leaf, as in "forces/0"."""
    paths = (path for path, _ in keras.tree.flatten_with_path(x))
    return [path[0] if len(path) == 1 else "/".join(map(str, path)) for path in paths]


def outline(structure: Any) -> str:
    """Returns a structure of tensors with their shapes, for messages."""
    return repr(
        keras.tree.map_structure(lambda tensor: str(tuple(tensor.shape)), structure)
    )


def numbers(word: str, value: Any) -> tf.Tensor:
    """Returns a tensor of real numbers.

    Raises:
        TypeError: If the value is not such a tensor.
    """
    if isinstance(value, tf.RaggedTensor | tf.SparseTensor | tf.IndexedSlices):
        raise TypeError(f"{word} is a {type(value).__name__}; expected a dense array.")
    if isinstance(value, keras.KerasTensor):
        raise TypeError(
            f"{word} is a KerasTensor, which has no values. In a Functional model, take derivatives in "
            "the `call` of a layer of your own, or use keras_smooth.DerivativeModel."
        )
    try:
        tensor = tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if isinstance(value, np.ndarray):
            reason = f"its dtype is {value.dtype}. Convert it to float64 or float32"
        elif isinstance(value, Iterable) and not isinstance(value, Collection):
            # TensorFlow's message about a dataset or generator has only its repr.
            reason = "of a dataset or generator pass the x of its batches, one batch a call"
        raise TypeError(f"{word} is no array of numbers: {reason}") from None
    if tensor.dtype.is_complex:
        raise TypeError(
            f"{word} holds {tensor.dtype.name}; derivatives are taken by real numbers. Give "
            "the real and the imaginary part apart."
        )
    if tensor.dtype.is_floating and tf.executing_eagerly():
        _check_finite(word, tensor)
    return tensor


def _check_finite(word: str, tensor: tf.Tensor) -> None:
    is_finite = tf.math.is_finite(tensor).numpy()
    if not is_finite.all():
        index = [int(i) for i in np.argwhere(~is_finite)[0]]
        value = float(tensor.numpy()[tuple(index)])
        raise ValueError(f"{word} must be finite, but is {value} at {index}.")


def real_numbers(word: str, value: Any, dtype: tf.DType) -> tf.Tensor:
    """Returns a tensor of floats or integers in a dtype.

    Raises:
        TypeError: If the value is not such a tensor.
    """
    tensor = numbers(word, value)
    if not (tensor.dtype.is_floating or tensor.dtype.is_integer):
        raise TypeError(f"{word} must hold real numbers, received {tensor.dtype.name}.")
    return tf.cast(tensor, dtype)


def _batch(word: str, leaf: Any) -> tf.Tensor:
    tensor = numbers(word, leaf)
    if tensor.shape.rank == 0 or 0 in tensor.shape:
        raise ValueError(
            f"Expected points of shape (batch, ...) with at least one point, received "
            f"{word} of shape {tuple(tensor.shape)}."
        )
    return tensor


def _check_shapes(model: Any, inputs: list[Input]) -> None:
    for each in inputs:
        shape = each.tensor.shape
        if each.expected is not None:
            if each.expects_floats and each.tensor.dtype == tf.string:
                raise TypeError(
                    f"The model {model.name!r} expects numbers for {each.expected.name!r}, "
                    f"received {each.word} of text."
                )
            if not shape[1:].is_compatible_with(each.expected.shape[1:]):
                raise ValueError(
                    f"The model {model.name!r} expects points of shape "
                    f"{each.expected.shape} for {each.expected.name!r}, received {each.word} "
                    f"of shape {tuple(shape)}."
                )
    sizes = {each.word: each.tensor.shape[0] for each in inputs}
    if len(set(sizes.values()) - {None}) > 1:
        raise ValueError(
            "All inputs must have the same number of samples, received "
            + ", ".join(f"{size} of {word}" for word, size in sizes.items())
            + ". For outputs of functions and points, (functions, points, ...), give a "
            "function of the points alone with their axis first: "
            "lambda points: keras.ops.swapaxes(model([functions, points]), 0, 1)."
        )
