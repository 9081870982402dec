"""A model's copy that computes in float64."""

import weakref
from typing import Any

import keras

from keras_smooth.lbfgs.objective.compiled_loss import has_own_loss
from keras_smooth.lbfgs.objective.exact_losses import (
    compilation,
    compile_exactly,
    is_compiled,
    loss_weights,
    losses_as_compiled,
)
from keras_smooth.lbfgs.objective.replicas import strategy_of
from keras_smooth.models import calls, copies, graph, sample_inputs

# The latest of each model, with what it was made of.
_copies = weakref.WeakKeyDictionary()


def compute_dtypes(model: keras.Model) -> set[str]:
    """Returns the dtypes of floats in which the parts of a model compute and hold weights."""
    parts = [part for _, part in graph.walk(model)]
    layers = [part for part in parts if isinstance(part, keras.layers.Layer)]
    variables = model.trainable_variables
    found = {v.dtype for v in variables} | {layer.compute_dtype for layer in layers}
    # A lookup computes in text or integers, in any model.
    return {dtype for dtype in found if "float" in dtype}


def in_float64(model: keras.Model, x: Any = None) -> keras.Model:
    """Returns a model with the same weights and loss that computes in float64.

    Args:
        model: Built model.
        x: A few inputs, in float64, or None for random ones.

    Raises:
        ValueError: If Keras cannot build the model again from its config.
    """
    if compute_dtypes(model) == {"float64"}:
        return model
    if x is None:
        x = calls.cast_to("float64", sample_inputs.of_built(model))
    signature = [*compilation(model), *(v.trainable for v in model.variables)]
    found, copy = _copies.get(model, (None, None))
    if found != signature:
        copy = _copied(model, x)
        _copies[model] = signature, copy
    _load(model, copy, x)
    return copy


def _compile(copy: keras.Model, model: keras.Model) -> None:
    if not is_compiled(model):
        return
    if has_own_loss(model):
        # It may call the one of keras.Model, which rounds to floatx.
        compile_exactly(copy, model, "float64")
    else:
        losses, weights = losses_as_compiled(model), loss_weights(model)
        copy.compile(optimizer=model.optimizer, loss=losses, loss_weights=weights)


def _load(model: keras.Model, copy: keras.Model, x: Any) -> None:
    """Gives the copy the state of the model, and compares them."""
    call = calls.Call((x,), {}, calls.call_without_trace(model, x))
    try:
        copies.fill_and_compare(model, copy, "float64", call)
    except copies.CannotCopy as error:
        raise ValueError(f'dtype="float64" needs a copy of the model: {error}.') from error


def _copied(model: keras.Model, x: Any) -> keras.Model:
    make = _of_own_class if has_own_loss(model) else _of_any_class
    try:
        with strategy_of(model).scope():
            copy = make(model, x)
        left = compute_dtypes(copy) - {"float64"}
        if left:
            raise ValueError(f"a part of the copy computes in {', '.join(sorted(left))}")
        _compile(copy, model)
        return copy
    # Whatever the model's own code raises is the reason.
    except Exception as error:
        raise ValueError(
            f'dtype="float64" needs a copy of {type(model).__name__}, which Keras cannot '
            f"make: {copies.brief(error)}. Give the class a get_config that holds its "
            'arguments, or build the model with dtype="float64".'
        ) from error


def _of_any_class(model: keras.Model, x: Any) -> keras.Model:
    return copies.copy_in("float64", model, (x,), {})


def _of_own_class(model: keras.Model, x: Any) -> keras.Model:
    # Not a clone, whose class is Keras' own: the loss is a method of this one.
    copy = copies.from_config(
        model, lambda config, references: copies.in_dtype("float64", config)
    )
    if not copy.built:
        copy(x)
    return copy
