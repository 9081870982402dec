"""Whether a model can be fitted, before anything is compiled."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.finite import first_non_finite
from keras_smooth.lbfgs.float64_copy import compute_dtypes
from keras_smooth.lbfgs.losses import has_own_loss

_FLOATS = ("float32", "float64")
_HALF = ("float16", "bfloat16")


def check_model(model: Any, dtype: str | None) -> None:
    """Raises where a model cannot be fitted."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, received {type(model).__name__}.")
    if not model.compiled:
        raise ValueError(
            "The model has no loss yet. Call model.compile(loss=...) before fit_lbfgs."
        )
    if not model.built:
        raise ValueError(
            "The model has no weights yet. Build it with an Input or by calling it once."
        )
    if type(model).train_step is not keras.Model.train_step:
        raise ValueError(
            f"{type(model).__name__} overrides train_step, which fit_lbfgs does not run: "
            "L-BFGS needs the loss as a function of the weights. Move the loss into "
            "compute_loss(x, y, y_pred, sample_weight, training)."
        )
    if model.loss is None and not has_own_loss(model) and not model.losses:
        raise ValueError(
            "The model has no loss. Call model.compile(loss=...), or override compute_loss."
        )
    _check_scope()
    _check_dtypes(model, dtype)
    _check_weights(model)


def _check_scope() -> None:
    # Inside, Keras divides its losses by the number of replicas.
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise ValueError(
            "fit_lbfgs was called inside strategy.scope(). Build and compile the model "
            "there, and call fit_lbfgs after it: it finds the strategy of the model."
        )


def _check_dtypes(model: keras.Model, dtype: str | None) -> None:
    if not model.trainable_variables:
        raise ValueError(
            "The model has no trainable weights: fit_lbfgs has nothing to do. Set "
            "layer.trainable = True where they are frozen."
        )
    for variable in model.trainable_variables:
        if variable.dtype not in (*_FLOATS, *_HALF):
            raise ValueError(
                f"The trainable weight {variable.path} has dtype {variable.dtype}, which "
                "has no gradient. Make it with add_weight(trainable=False)."
            )
    dtypes = sorted({variable.dtype for variable in model.trainable_variables})
    if len(dtypes) > 1 and dtype is None:
        raise ValueError(
            f"The trainable weights have the dtypes {', '.join(dtypes)}. Pass "
            'dtype="float64" to fit_lbfgs: it then works on a copy in float64.'
        )
    half = sorted(compute_dtypes(model).intersection(_HALF))
    if half and dtype is None:
        raise ValueError(
            f"The model computes in {half[0]}, which is too coarse for a line search. Pass "
            'dtype="float64" to fit_lbfgs: it then works on a copy in float64 and writes '
            "the weights back."
        )


def _check_weights(model: keras.Model) -> None:
    for variable in model.variables:
        values = np.asarray(variable)
        place = first_non_finite(values)
        if place is not None:
            raise ValueError(
                f"The weights must be finite, but {variable.path}[{place}] is "
                f"{values[place]}."
            )
