"""The logs of callbacks and `History`: loss, metrics or terms, and validation."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.lbfgs.data.training_data import TrainingData
from keras_smooth.lbfgs.run.fit_problem import FitProblem
from keras_smooth.presentation.warn import warn_once


def logs_of(
    problem: FitProblem, validation: TrainingData | None, callbacks: Any
) -> Callable[[float], dict[str, float]]:
    """Returns a function that computes the logs of an epoch, at the current weights.

    The logs are the loss, which is its argument, metrics or terms, and `val_` of both.

    Args:
        problem: The fit problem, whose points may change.
        validation: Other data, or None.
        callbacks: Callbacks, which are called for the validation as in `fit`.
    """
    request, model, objective = problem.request, problem.model, problem.objective

    def evaluated(data: TrainingData, callbacks: Any = None) -> dict[str, float]:
        if request.terms is not None:
            loss = objective.value(objective.position, data.parts)
            return {**objective.terms(data.parts), "loss": float(loss)}
        try:
            return _evaluated(model, data.as_dataset(request.batch_size), callbacks)
        # Keras' own code, or a metric of the user, can raise any error. The fit needs neither.
        except Exception as error:
            words = (
                f"model.evaluate failed, so that the logs have the loss alone: {error!r}."
            )
            floatx, dtype = keras.config.floatx(), model.trainable_variables[0].dtype
            if dtype != floatx:
                words += (
                    f" Keras computes losses in {floatx} and the model in {dtype}: call "
                    f"keras.config.set_floatx({dtype!r}) before you make the model."
                )
            warn_once(model, words, "logs")
            return {}

    def logs(loss: float) -> dict[str, float]:
        if request.terms is not None:
            logs = objective.terms(problem.points.parts)
        else:
            # Without metrics, the loss is enough. With several outputs, each loss is a metric,
            # after the first evaluation.
            several = len(tf.nest.flatten(problem.points.specification[1])) > 1
            logs = evaluated(problem.points) if several or len(model.metrics) > 1 else {}
        of_validation = evaluated(validation, callbacks) if validation else {}
        return {**logs, "loss": loss} | {f"val_{n}": v for n, v in of_validation.items()}

    return logs


def _evaluated(
    model: keras.Model, batches: tf.data.Dataset, callbacks: Any
) -> dict[str, float]:
    """Returns the result of `model.evaluate`, on several devices from the first one only.

    Keras' own `evaluate` fails there where the rows of the first batch do not divide evenly,
    and on several workers altogether.
    """
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return model.evaluate(batches, verbose=0, return_dict=True, callbacks=callbacks)
    if callbacks:
        callbacks.on_test_begin()
    # The variables of metrics cannot be assigned to outside of a replica. They stay as they
    # are: the scope has the values. Under that of the strategy, new ones are made.
    with model.distribute_strategy.scope(), keras.StatelessScope():
        model.reset_metrics()
        for batch in batches:
            model.test_step(batch)
        results = model.get_metrics_result()
    logs = {name: float(value) for name, value in results.items()}
    if callbacks:
        callbacks.on_test_end(logs)
    return logs
