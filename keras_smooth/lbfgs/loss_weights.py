"""The weights of the losses that a model was compiled with.

Its config alone has them, in public. Keras makes none where a loss, a metric, the optimizer or
its schedule has none, of which `fit` needs none: then `losses.check_weights` tries whether
there are no weights.
"""

import warnings

import keras
import numpy as np

from keras_smooth.lbfgs.advice import advice
from keras_smooth.models import copies


def loss_weights(model: keras.Model) -> list | tuple | dict | float | None:
    """Returns the weights of the losses of a model, None where there are none or unread.

    Raises:
        TypeError: If a weight is no number.
    """
    weights = _config(model)[0].get("loss_weights")
    if any(isinstance(weight, str) for weight in keras.tree.flatten(weights)):
        raise TypeError(
            "The model is compiled with `loss_weights` that are variables or tensors, "
            "expected numbers: pass float(weight), and compile again when it changes."
        )
    return weights


def check_loss_weights(model: keras.Model) -> None:
    """Raises where no loss has a weight, and warns where one has a negative weight.

    Raises:
        ValueError: If all weights are 0, or one is not finite.
    """
    weights = [w for w in keras.tree.flatten(loss_weights(model)) if w is not None]
    if not np.all(np.isfinite(weights)):
        raise ValueError(
            f"The model is compiled with `loss_weights` {weights}, expected finite numbers."
        )
    if weights and not any(weights):
        raise ValueError(
            "The model is compiled with `loss_weights` that are all 0, so that there is "
            "nothing to fit. Give one loss a weight above 0."
        )
    _warn_of_negative(model, weights)


@advice
def _warn_of_negative(model: keras.Model, weights: list) -> str | None:
    if min(weights, default=0) >= 0:
        return None
    return (
        f"The model is compiled with `loss_weights` of {min(weights)}: a loss that has no "
        "upper bound, as most of Keras have none, has no minimum with a negative weight, and "
        "the fit follows it without end."
    )


def why_unread(model: keras.Model) -> str:
    """Returns why the weights of the losses of a model cannot be read, "" where they can."""
    config, reason = _config(model)
    if reason or config.get("loss") is not None:
        return reason
    return "the last call of compile had no loss"


def _config(model: keras.Model) -> tuple[dict, str]:
    """Returns the config of the last call of `compile`, and why there is none."""
    try:
        with warnings.catch_warnings():
            # Keras warns of lambdas in configs that are saved; this one is not.
            warnings.filterwarnings("ignore", message=".*includes a `lambda`")
            # The model's own may be of other arguments.
            return keras.Model.get_compile_config(model) or {}, ""
    # Whatever the user's own code raises is the reason.
    except Exception as error:
        return {}, f"Keras makes no config of what it has ({copies.brief(error)})"
