"""Errors and warnings about a model and its arguments, before anything is compiled."""

import collections
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.lbfgs.data.data_reader import check_finite
from keras_smooth.lbfgs.objective.compiled_loss import has_own_loss
from keras_smooth.lbfgs.objective.exact_losses import is_compiled
from keras_smooth.lbfgs.objective.float64_copy import compute_dtypes
from keras_smooth.lbfgs.objective.sharding import replicas_of
from keras_smooth.lbfgs.objective.variables import Variable, dtype_of, is_among, name_of
from keras_smooth.lbfgs.request import Request
from keras_smooth.models import own_call
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.warn import advice

_HALF_PRECISION = ("float16", "bfloat16")
_LEARNING_RATE_CALLBACKS = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)


def check_fittable(request: Request) -> None:
    """Raises an error if a model cannot be fitted; warns of losses and arguments without effect."""
    model, terms = request.model, request.terms
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(
            f"`model` must be a keras.Model or a keras.layers.Layer, received {shown(model)}."
        )
    if terms is None and not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` is a layer, {type(model).__name__}, which has no loss of its own. Pass "
            "`objective`, or make it a model that is compiled with a loss."
        )
    if terms is None and not is_compiled(model):
        raise ValueError(
            "The model has no loss yet. Call model.compile(loss=...) before fit_lbfgs, or pass "
            "`objective`."
        )
    for callback in keras.tree.flatten(request.callbacks or []):
        if isinstance(callback, _LEARNING_RATE_CALLBACKS) and not is_compiled(model):
            raise ValueError(
                f"`callbacks` has {type(callback).__name__}, but L-BFGS has no learning rate, and "
                "a model that is not compiled has no optimizer. Leave it out."
            )
    if not own_call.is_built(model):
        raise ValueError(
            "The model has no weights yet. Build it with an Input or by calling it once."
        )
    if terms is None:
        _check_own_methods(model)
    else:
        _warn_of_unused_losses(model)
    # Inside `strategy.run`, Keras divides its losses by the number of replicas.
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise ValueError(
            "fit_lbfgs was called inside strategy.scope(). Build and compile the model there, and "
            "call fit_lbfgs after it: it finds the strategy of the model."
        )
    _check_trainable_weights(request.trained)
    _warn_if_never_resampled(model, request)
    if request.dtype is None:
        _check_dtypes(model)
    others = terms.variables if terms else []
    _check_variables(others, model, request.compute_dtype)
    for variable in (*model.variables, *others):
        check_finite("The weights must be finite", name_of(variable), np.asarray(variable))


def _check_own_methods(model: keras.Model) -> None:
    """Raises an error if the model has a `train_step` or `compute_loss` that cannot be used."""
    if type(model).train_step is not keras.Model.train_step:
        raise ValueError(
            f"{type(model).__name__} overrides train_step, which fit_lbfgs does not run: L-BFGS "
            "needs the loss as a function of the weights. Move the loss into compute_loss(x, y, "
            "y_pred, sample_weight, training)."
        )
    for name in ("train_step", "compute_loss"):
        if name in vars(model):
            raise ValueError(
                f"{name} was set on the model itself, where fit_lbfgs does not look. Make a "
                "subclass of keras.Model that has compute_loss as a method."
            )


@advice
def _warn_of_unused_losses(model: keras.Model) -> str | None:
    is_unused = {
        "the loss that it was compiled with": is_compiled(model) and model.loss is not None,
        "its compute_loss": has_own_loss(model),
        "its regularizers and add_loss": bool(model.losses),
    }
    names = ", ".join(name for name, is_there in is_unused.items() if is_there)
    return names and (
        f"fit_lbfgs minimizes `objective` alone: of the model it does not use {names}. Add to the "
        "objective what shall count, as sum(model.losses)."
    )


@advice
def _warn_if_never_resampled(model: keras.layers.Layer, request: Request) -> str | None:
    resample, num_iterations = request.resample, request.num_iterations
    if resample is None or resample.every < num_iterations:
        return None
    return (
        f"`resample` draws no points: it would draw after {counted(resample.every, 'iteration')}, and the "
        f"fit has {num_iterations}. Pass Resample(draw, every=...) with fewer."
    )


def _check_trainable_weights(variables: Sequence[Variable]) -> None:
    if not variables:
        raise ValueError(
            "The model has no trainable weights: fit_lbfgs has nothing to do. Set layer.trainable "
            "= True where they are frozen."
        )
    for variable in variables:
        name, dtype = name_of(variable), dtype_of(variable)
        if not tf.as_dtype(dtype).is_floating:
            raise ValueError(
                f"The trainable weight {name} has dtype {dtype}, which has no gradient. Create it "
                "with trainable=False, and leave it out of `variables`."
            )
        if getattr(variable, "overwrite_with_gradient", False):
            raise ValueError(
                f"The trainable weight {name} is overwritten with what Keras gives for its "
                "gradient, as the scales of a layer that is quantized to float8 are: L-BFGS needs "
                "true gradients. Use the model as it was before `quantize`."
            )
        if variable.constraint is not None:
            raise ValueError(
                f"The trainable weight {name} has the constraint "
                f"{type(variable.constraint).__name__}, which L-BFGS cannot keep: leave out the "
                "constraint and make the weight of a free one where it is used, as "
                "keras.ops.exp(free) for one that is positive."
            )


def _check_dtypes(model: keras.Model) -> None:
    counts = collections.Counter(v.dtype for v in model.trainable_variables)
    if len(counts) > 1:
        most_common = counts.most_common(1)[0][0]
        others = [v for v in model.trainable_variables if v.dtype != most_common]
        raise ValueError(
            f"The trainable weights have the dtypes {', '.join(sorted(counts))}: {others[0].path} "
            f'is {others[0].dtype}, most are {most_common}. Make all with dtype="float64", or pass '
            'dtype="float64" to fit_lbfgs: it then works on a copy in float64.'
        )
    half = sorted(compute_dtypes(model).intersection(_HALF_PRECISION))
    if half:
        raise ValueError(
            f"The model computes in {half[0]}, which is too coarse for a line search. Pass "
            'dtype="float64" to fit_lbfgs: it then works on a copy in float64 and writes the '
            "weights back."
        )


def _check_variables(variables: Sequence[Variable], model: keras.Model, dtype: str) -> None:
    has_replicas = replicas_of(model) is not None
    remedy = f'Make it with keras.Variable(value, dtype="{dtype}").'
    for variable in variables:
        reason, variable_dtype = None, dtype_of(variable)
        if variable_dtype != dtype:
            reason = (
                f"has dtype {variable_dtype}, but the fit computes in {dtype}. {remedy}"
            )
        elif is_among(variable, model.trainable_variables):
            reason = "is a weight of the model, which is trained anyway. Leave it out."
        elif has_replicas and isinstance(variable, tf.Variable):
            reason = f"is a tf.Variable, which only one device can train. {remedy}"
        if reason:
            raise ValueError(f"{name_of(variable)} of `variables` {reason}")
