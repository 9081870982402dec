"""Faithful copies: the same functions, the same state, and the same outputs."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_smooth.models import agreement, calls, state
from keras_smooth.models.checked_inputs import first_line
from keras_smooth.models.graph import is_graph
from keras_smooth.models.references import References, layers_within

_FLOATS = ("float16", "bfloat16", "float32", "float64")
# The keys of the layers that a wrapper calls, in its config.
_WRAPPED = ("layer", "backward_layer")


class CannotCopy(ValueError):
    """A layer has no faithful copy; the message has the reason."""


def fill_and_compare(
    layer: keras.Operation, copy: keras.Operation, dtype: str | None, call: calls.Call
) -> Any:
    """Copies the state of a layer to its copy, and compares the outputs of both.

    Args:
        layer: Layer, model or keras.Operation.
        copy: A copy of it.
        dtype: The dtype in which the copy computes; None for that of the layer.
        call: A call of the layer, with its outputs.

    Returns:
        The outputs of the copy.

    Raises:
        CannotCopy: If the copy cannot be run, or its outputs differ from those of the layer.
    """
    args, kwargs = arguments_in(dtype, call)

    def run(args: Any, kwargs: Any) -> Any:
        return calls.call_without_side_effects(copy, *args, **kwargs)

    try:
        state.copy_state(layer, copy)
        output = run(args, kwargs)
    # The code of a layer can raise any error.
    except Exception as error:
        where = f"in {dtype}, " if dtype else ""
        raise CannotCopy(f"{where}{brief(error)}") from error
    rounding = agreement.epsilon(layer, call.output)
    if not agreement.agrees(run, (args, kwargs), output, call.output, rounding):
        distance = agreement.distance(output, call.output)
        raise CannotCopy(
            f"the copy of {layer.name!r} ({type(layer).__name__}) from its config computes "
            f"other values, by {distance:.0e} relative. Put all that it computes with into "
            "its get_config and its variables"
        )
    return output


def arguments_in(dtype: str | None, call: calls.Call) -> tuple[tuple, dict]:
    """Returns the arguments of a call in a dtype, without `training`."""
    kwargs = {name: value for name, value in call.kwargs.items() if name != "training"}
    arguments = call.args, kwargs
    return arguments if dtype is None else calls.cast_to(dtype, arguments)


def copy_in(
    dtype: str, layer: keras.Operation, args: tuple, kwargs: dict
) -> keras.Operation:
    """Returns a built copy of a layer or model that computes in a dtype, without its state.

    Args:
        dtype: "float64" or "float32".
        layer: Layer, model or keras.Operation.
        args: Arguments of a call, on which the copy is built.
        kwargs: Keyword arguments of that call.

    Raises:
        CannotCopy: If Keras cannot build it from its config.
    """
    try:
        copy = fresh_copy(layer, dtype)
        build(copy, args, kwargs)
        return copy
    # The code of a layer can raise any error.
    except Exception as error:
        words = f"no {dtype} copy of {layer.name!r}: {brief(error)}"
        raise CannotCopy(words) from error


def build(copy: keras.Operation, args: tuple, kwargs: dict) -> None:
    """Builds a copy by calling it, unless it and all layers in it are built."""
    layers = [each for each in layers_within(copy) if isinstance(each, keras.layers.Layer)]
    # A symbolic call does not build a layer that is used as an activation.
    if not all(layer.built for layer in layers):
        copy(*args, **kwargs)


def brief(error: Exception) -> str:
    """Returns the class of an error and the first informative line of its message."""
    if isinstance(error, NotImplementedError) and "get_config" in str(error):
        return "its class has no get_config that holds its arguments: give it one"
    words = [type(error).__name__, first_line(error)]
    return ": ".join(filter(None, words))[:200]


def fresh_copy(
    layer: keras.Operation, dtype: str | None = None, copies: dict | None = None
) -> keras.Operation:
    """Returns a copy with fresh weights and the same functions.

    Args:
        layer: Layer, model or keras.Operation.
        dtype: The dtype in which the copy computes; None for that of each layer.
        copies: The copies so far of layers and inputs, by `id`, so that shared ones stay
            shared.
    """
    copies = {} if copies is None else copies
    if id(layer) not in copies:
        inner = functools.partial(fresh_copy, dtype=dtype, copies=copies)
        if is_graph(layer):
            copies[id(layer)] = rebuilt_graph(layer, inner, copies, dtype)
        else:
            copies[id(layer)] = _from_config(layer, dtype, inner)
    return copies[id(layer)]


def _from_config(
    layer: keras.Operation, dtype: str | None, inner: Callable
) -> keras.Operation:
    def change(config: Any, references: References) -> Any:
        config = config if dtype is None else in_dtype(dtype, config)
        return with_wrapped_layers(layer, config, references, inner)

    copy = from_config(layer, change)
    if dtype is None:
        return copy
    # The config of a layer lacks the dtype of layers that its constructor creates.
    for inner_layer in layers_within(copy)[1:]:
        is_fresh = isinstance(inner_layer, keras.layers.Layer) and not inner_layer.weights
        if is_fresh and "float" in inner_layer.compute_dtype:
            inner_layer.dtype_policy = dtype
    return copy


def with_wrapped_layers(
    wrapper: keras.Operation, config: Any, references: References, function: Callable
) -> Any:
    """Returns the config of a wrapper with `function(layer)` for each layer that it calls.

    Args:
        wrapper: A wrapper, or any other layer, whose config is returned unchanged.
        config: The config of the wrapper.
        references: The references of the wrapper.
        function: Returns the new layer, from the old one.
    """
    changed = {}
    for key in _WRAPPED:
        # A wrapper creates its backward layer unless the config has one.
        forward = hasattr(wrapper, "forward_layer") and key == "layer"
        layer = getattr(wrapper, "forward_layer" if forward else key, None)
        if key in config and isinstance(layer, keras.layers.Layer):
            changed[key] = references.config(function(layer))
    return {**config, **changed} if changed else config


def from_config(
    layer: keras.Operation,
    change: Callable,
    substitute: Callable | None = None,
    kind: type | None = None,
) -> keras.Operation:
    """Returns a layer from a changed config, with the same functions by identity.

    Args:
        layer: Layer or keras.Operation.
        change: Returns the changed config, from the config and its `References`.
        substitute: Returns the replacement of a function, or of a layer that is used as an
            activation. By default, functions are kept, and such layers are rebuilt.
        kind: Class of the new layer; by default that of the old one.
    """
    kind = kind or type(layer)

    def rebuilt(value: Any) -> Any:
        return from_config(value, change) if isinstance(value, keras.Operation) else value

    references = References(layer, substitute or rebuilt)
    try:
        with references.with_placeholders():
            config = layer.get_config()
        config = change(references.without_placeholders(config), references)
        return _from_changed_config(kind, layer, config, references)
    # With stand-ins, `get_config` fails if it looks up the names of functions.
    except Exception as error:
        try:
            config = change(layer.get_config(), references)
        except Exception:
            raise error from None
        return _from_changed_config(kind, layer, config, references)


def _from_changed_config(
    kind: Any, original: Any, config: dict, references: References
) -> keras.Operation:
    kinds = filter(
        lambda kind: not calls.is_determined_by_config(kind),
        map(type, layers_within(original)),
    )
    # Keras finds classes that are not registered by their names.
    user_classes = {kind.__name__: kind for kind in kinds}
    # Objects in memory, such as the function of a SavedModel, were trusted when loaded.
    has_mode = "safe_mode" in inspect.signature(kind.from_config).parameters
    mode = {"safe_mode": False} if has_mode else {}
    with keras.saving.custom_object_scope({**user_classes, **references.objects}):
        copy = kind.from_config(accepted(kind, config), **mode)
    for layer, other in state.paired(original, copy):
        references.restore(layer, other)
    state.copy_settings(original, copy)
    return copy


def rebuilt_graph(
    model: keras.Model,
    function: Callable,
    known: dict[int, Any],
    dtype: str | None = None,
    call: Callable | None = None,
) -> keras.Model:
    """Returns a copy of a Sequential or Functional model with other layers, not compiled.

    Args:
        model: Sequential or Functional model.
        function: Returns the new layer for a layer, always the same one for the same layer. It
            is called for each call of a layer.
        known: The new symbolic inputs by `id` of the old ones, so that an inner model that is
            built on an Input of the outer one stays so. It is changed.
        dtype: The dtype of inputs of floats; None for that of the model.
        call: Calls a layer of a Functional model; by default `call_layer`.
    """
    # Keras would compile the clone, which fails if it cannot copy a loss.
    with calls.temporary_attribute(model, "compiled", False):
        if not isinstance(model, keras.Sequential):
            tensors = _new_inputs(model, known, dtype)
            return keras.models.clone_model(
                model,
                input_tensors=tensors,
                clone_function=function,
                call_function=call or call_layer,
            )
        if not model.built:
            return keras.Sequential(list(map(function, model.layers)), name=model.name)
        tensor = _like(model.inputs[0], dtype)
        return keras.models.clone_model(
            model, input_tensors=tensor, clone_function=function
        )


def _new_inputs(model: keras.Model, known: dict[int, Any], dtype: str | None) -> Any:
    """Returns new symbolic inputs of a Functional model, with the names of its Input layers."""
    old = {id(x.output): x for x in model.layers if isinstance(x, keras.layers.InputLayer)}

    def new_input(tensor: keras.KerasTensor) -> keras.KerasTensor:
        if id(tensor) not in known:
            layer = old.get(id(tensor))
            known[id(tensor)] = keras.Input(
                tensor=_like(tensor, dtype),
                name=getattr(layer, "name", tensor.name),
                optional=getattr(layer, "optional", False),
            )
        return known[id(tensor)]

    return keras.tree.map_structure(new_input, model.input)


def _like(tensor: keras.KerasTensor, dtype: str | None) -> keras.KerasTensor:
    """Returns a symbolic tensor of the same shape and name, in a dtype if it has floats."""
    new = dtype if dtype and tensor.dtype in _FLOATS else tensor.dtype
    return keras.KerasTensor(tensor.shape, new, sparse=tensor.sparse, name=tensor.name)


def call_layer(layer: Callable, *args: Any, **kwargs: Any) -> Any:
    """Calls a layer, without the mask if it accepts none, as a replacement of a Lambda may."""
    call = layer.call if isinstance(layer, keras.layers.Layer) else layer
    if "mask" in kwargs and "mask" not in inspect.signature(call).parameters:
        del kwargs["mask"]
    return layer(*args, **kwargs)


def in_dtype(dtype: str, config: Any) -> Any:
    """Returns a config in which every floating-point dtype is replaced by the given one."""
    if isinstance(config, dict):
        return {
            key: dtype
            if key == "dtype" and _is_float_policy(value)
            else in_dtype(dtype, value)
            for key, value in config.items()
        }
    if type(config) in (list, tuple):
        return type(config)(in_dtype(dtype, item) for item in config)
    return config


def _is_float_policy(value: Any) -> bool:
    if isinstance(value, dict):
        value = value.get("config", {}).get("name")
    if not isinstance(value, str):
        return False
    return value.removeprefix("mixed_") in _FLOATS


def accepted(kind: type, config: dict) -> dict:
    """Returns a config of a class of layers that the constructor of the class accepts.

    RandomShear turns a factor f into the range (-f, f). Its config has the range, which its
    constructor refuses.
    """

    def one_number(factor: Any) -> Any:
        is_pair = isinstance(factor, tuple | list) and len(factor) == 2
        return factor[1] if is_pair and factor[0] == -factor[1] else factor

    if not issubclass(kind, keras.layers.RandomShear):
        return config
    keys = {"x_factor", "y_factor"} & config.keys()
    return {**config, **{key: one_number(config[key]) for key in keys}}
