"""Whether a model can be fitted, before anything is compiled."""

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
from keras_smooth.presentation.warn import advice

_HALF = ("float16", "bfloat16")
_OF_RATES = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def check_fittable(request: Request) -> None:
    """Raises an error if a model cannot be fitted; warns of parts that are not used."""
    model, terms = request.model, request.terms
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"`model` must be a keras.layers.Layer, received {shown(model)}.")
    if terms is None and not is_compiled(model):
        raise ValueError("The model has no loss: call model.compile, or pass `objective`.")
    for callback in keras.tree.flatten(request.callbacks or []):
        if isinstance(callback, _OF_RATES) and not is_compiled(model):
            raise ValueError(
                f"`callbacks` has {type(callback).__name__}, but L-BFGS has no learning rate, and "
                "a model that is not compiled has no optimizer. Leave it out."
            )
    if not own_call.is_built(model):
        raise ValueError("The model has no weights yet. Build it by calling it once.")
    if terms is None:
        _check_loss(model)
    else:
        _warn_unused(model)
    # Inside `strategy.run`, Keras divides its losses by the number of replicas.
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise ValueError("fit_lbfgs was called inside strategy.scope(): leave that first.")
    _check_trained(request.trained)
    _warn_of_draws(model, request)
    if request.dtype is None:
        _check_dtypes(model)
    others = terms.variables if terms else []
    _check_variables(others, model, request.compute_dtype)
    for variable in (*model.variables, *others):
        check_finite("The weights must be finite", name_of(variable), np.asarray(variable))


def _check_loss(model: keras.Model) -> None:
    if type(model).train_step is not keras.Model.train_step:
        raise ValueError(
            f"{type(model).__name__} overrides train_step. Move the loss into compute_loss."
        )
    for name in ("train_step", "compute_loss"):
        if name in vars(model):
            raise ValueError(
                f"{name} was set on the model itself: write a subclass that has it as a method."
            )


@advice
def _warn_unused(model: keras.Model) -> str | None:
    unused = {
        "the loss that it was compiled with": is_compiled(model) and model.loss is not None,
        "its compute_loss": has_own_loss(model),
        "its regularizers and add_loss": bool(model.losses),
    }
    names = ", ".join(name for name, is_there in unused.items() if is_there)
    return names and (
        f"fit_lbfgs minimizes `objective` alone, and not {names}: add to it what shall count."
    )


@advice
def _warn_of_draws(model: keras.layers.Layer, request: Request) -> str | None:
    resample, most = request.resample, request.num_iterations
    if resample is None or resample.every < most:
        return None
    return f"`resample` draws no points, with every={resample.every} of {most} iterations."


def _check_trained(variables: Sequence[Variable]) -> None:
    if not variables:
        raise ValueError("The model has no trainable weights. Set layer.trainable = True.")
    for variable in variables:
        name, dtype = name_of(variable), dtype_of(variable)
        if not tf.as_dtype(dtype).is_floating:
            raise ValueError(
                f"{name} has dtype {dtype}, which has no gradient: make it with trainable=False."
            )
        if getattr(variable, "overwrite_with_gradient", False):
            raise ValueError(
                f"{name} is overwritten with its gradient. Use the model before `quantize`."
            )
        if variable.constraint is not None:
            raise ValueError(
                f"{name} has the constraint {type(variable.constraint).__name__}, which L-BFGS "
                "cannot keep: use a function of a free weight, as keras.ops.exp(free)."
            )


def _check_dtypes(model: keras.Model) -> None:
    counts = collections.Counter(v.dtype for v in model.trainable_variables)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        others = [v for v in model.trainable_variables if v.dtype != usual]
        raise ValueError(
            f"Of the trainable weights {others[0].path} is {others[0].dtype}, most are {usual}. "
            'Make all with dtype="float64", or pass dtype="float64" to fit_lbfgs.'
        )
    half = sorted(compute_dtypes(model).intersection(_HALF))
    if half:
        raise ValueError(
            f'The model computes in {half[0]}. Pass dtype="float64", which fits a copy.'
        )


def _check_variables(variables: Sequence[Variable], model: keras.Model, dtype: str) -> None:
    several = replicas_of(model) is not None
    make = f'Make it with keras.Variable(value, dtype="{dtype}").'
    for variable in variables:
        reason, own = None, dtype_of(variable)
        if own != dtype:
            reason = f"has dtype {own}, but the fit computes in {dtype}. {make}"
        elif is_among(variable, model.trainable_variables):
            reason = "is a weight of the model, which is trained anyway. Leave it out."
        elif several and isinstance(variable, tf.Variable):
            reason = f"is a tf.Variable, which only one device can train. {make}"
        if reason:
            raise ValueError(f"{name_of(variable)} of `variables` {reason}")
