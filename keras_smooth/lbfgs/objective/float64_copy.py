"""A copy of a model that computes in float64."""

import contextlib
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
    """Returns the floating dtypes of the computations and weights of a model."""
    layers = [node for _, node in graph.walk(model) if isinstance(node, keras.layers.Layer)]
    variables = model.trainable_variables
    dtypes = {v.dtype for v in variables} | {layer.compute_dtype for layer in layers}
    # Lookup layers compute with strings or integers.
    return {dtype for dtype in dtypes if "float" in dtype}


def in_float64(model: keras.Model, x: Any = None) -> keras.Model:
    """Returns a model with the same weights and loss that computes in float64, or the model itself.

    Args:
        model: Built model.
        x: Inputs of a few rows in float64, or None for random ones.

    Raises:
        ValueError: If Keras cannot build the model again from its config.
    """
    if compute_dtypes(model) == {"float64"}:
        return model
    if x is None:
        x = calls.cast_to("float64", sample_inputs.of_built(model))
    signature = [
        *exact_losses.compile_signature(model),
        *(v.trainable for v in model.variables),
    ]
    copied_signature, copy = _copies.get(model, (None, None))
    call = calls.Call((x,), {}, calls.call_without_side_effects(model, x))
    if copied_signature == signature:
        # If a layer has changed since then, the copy computes other values, and is made anew.
        with contextlib.suppress(copies.CannotCopy):
            copies.fill_and_compare(model, copy, "float64", call)
            return copy
    copy = _make_copy(model, x)
    _copies[model] = signature, copy
    try:
        copies.fill_and_compare(model, copy, "float64", call)
    except copies.CannotCopy as error:
        raise ValueError(f'dtype="float64" needs a copy of the model: {error}.') from error
    return copy


def _make_copy(model: keras.Model, x: Any) -> keras.Model:
    """Returns a built and compiled copy in float64, whose weights are not set yet."""
    own_loss = has_own_loss(model)
    try:
        with strategy_of(model).scope():
            if own_loss:
                # A clone would be of a class of Keras, without the user's method `compute_loss`.
                copy = copies.from_config(
                    model, lambda config, references: copies.in_dtype("float64", config)
                )
            else:
                copy = copies.copy_in("float64", model, (x,), {})
            if not copy.built:
                copy(x)
        other_dtypes = compute_dtypes(copy) - {"float64"}
        if other_dtypes:
            raise ValueError(
                f"a part of the copy computes in {', '.join(sorted(other_dtypes))}"
            )
        if own_loss and exact_losses.is_compiled(model):
            # The user's method may call that of keras.Model, which rounds to floatx.
            exact_losses.compile_exactly(copy, model, "float64")
        elif exact_losses.is_compiled(model):
            copy.compile(
                optimizer=model.optimizer,
                loss=exact_losses.losses_as_compiled(model),
                loss_weights=exact_losses.loss_weights(model),
            )
        return copy
    # The user's code can raise any error, which the message has as the reason.
    except Exception as error:
        raise ValueError(
            f'dtype="float64" needs a copy of {type(model).__name__}, which Keras cannot make: '
            f"{copies.brief(error)}. Give the class a get_config that holds its arguments, or "
            'build the model with dtype="float64".'
        ) from error
