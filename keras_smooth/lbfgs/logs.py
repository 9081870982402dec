"""What the callbacks of a full-batch fit are told: loss, metrics or terms, and validation."""

from collections.abc import Callable
from typing import Any

import keras

from keras_smooth.lbfgs import metrics
from keras_smooth.lbfgs.data import Data, ObjectivePoints
from keras_smooth.lbfgs.minimization import Minimization


class Logs:
    """The logs of an epoch, at the weights that the model has.

    Args:
        of_training: Returns what there is to say beside the loss.
        of_validation: Returns all there is to say of validation.
    """

    def __init__(self, of_training: Callable[[], dict], of_validation: Callable[[], dict]):
        self._of_training = of_training
        self._of_validation = of_validation

    def at(self, loss: float) -> dict[str, float]:
        """Returns the loss, what belongs to it, and `val_` of both."""
        logs = {**self._of_training(), "loss": loss}
        return logs | {f"val_{name}": v for name, v in self._of_validation().items()}


def of_metrics(
    model: keras.Model,
    data: Data,
    validation: Data | None,
    batch_size: int | None,
    callbacks: keras.callbacks.CallbackList,
) -> Logs:
    """Returns logs of the metrics of a compiled model.

    Args:
        model: The fitted model.
        data: The data it is fitted to.
        validation: Other data, or None.
        batch_size: Rows to evaluate at once, None for all.
        callbacks: Told of the validation, as by `fit`.
    """

    def evaluate(data: Data, callbacks: Any = None) -> dict[str, float]:
        dataset = data.as_dataset(batch_size)
        if model.distribute_strategy.num_replicas_in_sync > 1:
            return metrics.evaluate(model, dataset, callbacks)
        return model.evaluate(dataset, verbose=0, return_dict=True, callbacks=callbacks)

    def of_training() -> dict[str, float]:
        # Without metrics there is nothing that the loss does not say already; several
        # outputs have a metric each, their loss, once they are evaluated.
        several = len(model.metrics) > 1 or data.num_targets > 1
        return evaluate(data) if several else {}

    def of_validation() -> dict[str, float]:
        return {} if validation is None else evaluate(validation, callbacks)

    return Logs(of_training, of_validation)


def of_terms(minimization: Minimization, validation: ObjectivePoints | None) -> Logs:
    """Returns logs of the terms of an objective, on the points of now."""
    objective = minimization.objective

    def of_validation() -> dict[str, float]:
        if validation is None:
            return {}
        loss = objective.value(objective.position, validation.parts)
        return {**objective.terms(validation.parts), "loss": float(loss)}

    return Logs(lambda: objective.terms(minimization.points.parts), of_validation)
