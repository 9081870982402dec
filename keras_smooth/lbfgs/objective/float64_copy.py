"""A model's copy that computes in float64."""

import weakref
from typing import Any

import keras

from keras_smooth.lbfgs.objective import exact_losses
from keras_smooth.lbfgs.objective.compiled_loss import has_own_loss
from keras_smooth.lbfgs.objective.sharding import strategy_of
from keras_smooth.models import calls, copies, graph, sample_inputs

# The latest copy of each model, with its key.
_copies = weakref.WeakKeyDictionary()


def compute_dtypes(model: keras.Model) -> set[str]:
    """Returns the dtypes of floats in which the parts of a model compute and hold weights."""
    layers = [each for _, each in graph.walk(model) if isinstance(each, keras.layers.Layer)]
    variables = model.trainable_variables
    dtypes = {v.dtype for v in variables} | {layer.compute_dtype for layer in layers}
    # A lookup computes in text or integers, in any model.
    return {dtype for dtype in dtypes if "float" in dtype}


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
    signature = [*exact_losses.compilation(model), *(v.trainable for v in model.variables)]
    known, copy = _copies.get(model, (None, None))
    if known != signature:
        copy = _copied(model, x)
        _copies[model] = signature, copy
    call = calls.Call((x,), {}, calls.call_without_side_effects(model, x))
    try:
        copies.fill_and_compare(model, copy, "float64", call)
    except copies.CannotCopy as error:
        raise ValueError(f'dtype="float64" needs a copy of the model: {error}.') from error
    return copy


def _copied(model: keras.Model, x: Any) -> keras.Model:
    own_loss = has_own_loss(model)
    try:
        with strategy_of(model).scope():
            if own_loss:
                # Not a clone, whose class is Keras' own: the loss is a method of this one.
                copy = copies.from_config(
                    model, lambda config, references: copies.in_dtype("float64", config)
                )
            else:
                copy = copies.copy_in("float64", model, (x,), {})
            if not copy.built:
                copy(x)
        left = compute_dtypes(copy) - {"float64"}
        if left:
            raise ValueError(f"a part of the copy computes in {', '.join(sorted(left))}")
        if own_loss and exact_losses.is_compiled(model):
            # It may call the one of keras.Model, which rounds to floatx.
            exact_losses.compile_exactly(copy, model, "float64")
        elif exact_losses.is_compiled(model):
            copy.compile(
                optimizer=model.optimizer,
                loss=exact_losses.losses_as_compiled(model),
                loss_weights=exact_losses.loss_weights(model),
            )
        return copy
    # The model's code can raise any error, which is the reason.
    except Exception as error:
        raise ValueError(
            f'dtype="float64" needs a copy of {type(model).__name__}, which Keras cannot make: '
            f"{copies.brief(error)}. Give the class a get_config that holds its arguments, or "
            'build the model with dtype="float64".'
        ) from error
