"""Full-batch training of one network, by `fit_lbfgs` or by Adam."""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.comparison.settings import Variant
from keras_smooth.lbfgs import Status, fit_lbfgs, minimizers

NUM_REPORTS = 100

Data = tuple[np.ndarray, np.ndarray]  # x and y
Report = Callable[[int, float], None]  # called with iteration and loss


def check_installed(method: str) -> None:
    """Raises an ImportError if a method needs a package that is not installed."""
    if method != "adam":
        minimizers.check_method(method)


def packages(method: str) -> tuple[str, ...]:
    """Returns the packages on which the results of this method depend, but not those of all."""
    return () if method == "adam" else minimizers.MINIMIZERS[method].PACKAGES


def reason_missing(method: str) -> str:
    """Returns why a method cannot run here, with the remedy, or "" if it can."""
    try:
        check_installed(method)
    except ImportError as error:
        return str(error)
    return ""


def by_lbfgs(
    model: keras.Model, data: Data, epochs: int, variant: Variant, report: Report
) -> dict:
    """Trains the model, and returns success, status, message, nit, nfev, restarts and loss."""
    chunk = math.ceil(epochs / NUM_REPORTS)
    progress = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: report(epoch + 1, logs["loss"])
    )
    result = fit_lbfgs(
        model,
        *data,
        epochs=epochs,
        method=variant.method,
        tolerance=0.0,  # Every run gets the same number of iterations.
        steps_per_execution=chunk,
        callbacks=[progress],
        verbose=0,
    ).result
    names = ("success", "status", "message", "nit", "nfev", "restarts")
    return {**{name: getattr(result, name) for name in names}, "loss": result.fun}


def by_adam(
    model: keras.Model, data: Data, epochs: int, variant: Variant, report: Report
) -> dict:
    """Trains like `by_lbfgs`, by full-batch Adam, with a chunk of steps in one compiled call."""
    max_steps = math.ceil(epochs / NUM_REPORTS)
    chunk = next(steps for steps in range(max_steps, 0, -1) if epochs % steps == 0)
    adam = keras.optimizers.Adam()
    # The loss is scaled to size 1 for any units of y, because Adam adds 1e-7 to the square roots of
    # its second moments.
    unit = float(np.var(data[1])) or 1.0
    model.compile(
        optimizer=adam, loss=model.loss, loss_weights=1.0 / unit, steps_per_execution=chunk
    )
    progress = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: report((epoch + 1) * chunk, unit * logs["loss"])
    )
    # A dataset, since Keras would round float64 arrays to float32.
    batch = tf.data.Dataset.from_tensors(data).map(
        lambda *pair: [tf.cast(column, variant.dtype) for column in pair]
    )
    model.fit(
        batch.repeat(),
        epochs=epochs // chunk,
        steps_per_epoch=chunk,
        callbacks=[progress],
        shuffle=False,
        verbose=0,
    )
    loss = unit * float(model.evaluate(batch, verbose=0))
    finite = math.isfinite(loss)
    return {
        "success": False,  # Adam does not test the gradient.
        "status": int(Status.ITERATION_LIMIT if finite else Status.NON_FINITE),
        "message": "Adam took all its steps." if finite else "The loss is not finite.",
        "nit": epochs,
        "nfev": epochs,
        "restarts": 0,
        "loss": loss,
    }
