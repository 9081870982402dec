"""The logs of callbacks and `History`: loss, metrics or terms, and validation."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.lbfgs.data.training_data import TrainingData
from keras_smooth.lbfgs.run.fit_problem import FitProblem
from keras_smooth.presentation.warn import warn_once


def log_function(
    problem: FitProblem, validation: TrainingData | None, callbacks: Any
) -> Callable[[float], dict[str, float]]:
    """Returns a function that computes the logs of an epoch at the current weights.

    Its argument is the loss. The logs are the loss, metrics or terms, and the same with the prefix
    `val_` for the validation data.

    Args:
        problem: The fit problem, whose points may change.
        validation: Validation data, or None.
        callbacks: Callbacks, whose test methods are called during validation as in `fit`.
    """
    request, model, objective = problem.request, problem.model, problem.objective

    def evaluate(data: TrainingData, callbacks: Any = None) -> dict[str, float]:
        if request.terms is not None:
            loss = objective.value(objective.position, data.parts)
            return {**objective.terms(data.parts), "loss": float(loss)}
        try:
            return _evaluate_model(model, data.as_dataset(request.batch_size), callbacks)
        # Keras and a user's metric can raise any error, which must not end the fit.
        except Exception as error:
            message = (
                f"model.evaluate failed, so that the logs have the loss alone: {error!r}."
            )
            floatx, dtype = keras.config.floatx(), model.trainable_variables[0].dtype
            if dtype != floatx:
                message += (
                    f" Keras computes losses in {floatx} and the model in {dtype}: call "
                    f"keras.config.set_floatx({dtype!r}) before you make the model."
                )
            warn_once(model, message, "logs")
            return {}

    def logs(loss: float) -> dict[str, float]:
        if request.terms is not None:
            logs = objective.terms(problem.points.parts)
        else:
            # Without metrics, the loss is the only log. But with several outputs, each loss is also
            # a metric, which Keras creates in the first evaluation.
            has_several_outputs = len(tf.nest.flatten(problem.points.specification[1])) > 1
            has_metrics = has_several_outputs or len(model.metrics) > 1
            logs = evaluate(problem.points) if has_metrics else {}
        validation_logs = evaluate(validation, callbacks) if validation else {}
        return {**logs, "loss": loss} | {f"val_{n}": v for n, v in validation_logs.items()}

    return logs


def _evaluate_model(
    model: keras.Model, batches: tf.data.Dataset, callbacks: Any
) -> dict[str, float]:
    """Returns the result of `model.evaluate`, which is computed on one device.

    On several devices, Keras' `evaluate` fails if the rows of the first batch cannot be shared
    evenly, and on several workers it always fails.
    """
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return model.evaluate(batches, verbose=0, return_dict=True, callbacks=callbacks)
    if callbacks:
        callbacks.on_test_begin()
    # Variables of metrics cannot be assigned outside of a replica, so that a stateless scope keeps
    # their values. New variables must be created in the scope of the strategy.
    with model.distribute_strategy.scope(), keras.StatelessScope():
        model.reset_metrics()
        for batch in batches:
            model.test_step(batch)
        results = model.get_metrics_result()
    logs = {name: float(value) for name, value in results.items()}
    if callbacks:
        callbacks.on_test_end(logs)
    return logs
