"""What the callbacks of a full-batch fit are told: loss, metrics and validation."""

import keras

from keras_smooth.lbfgs import metrics
from keras_smooth.lbfgs.data import Data, as_dataset


class Logs:
    """The logs of an epoch, at the weights that the model has.

    Args:
        model: The fitted model.
        data: The data it is fitted to.
        validation: Other data, or None.
        batch_size: Rows to evaluate at once, None for all.
        callbacks: Told of the validation, as by `fit`.
    """

    def __init__(
        self,
        model: keras.Model,
        data: Data,
        validation: Data | None,
        batch_size: int | None,
        callbacks: keras.callbacks.CallbackList,
    ):
        self._model = model
        self._data = data
        self._validation = validation
        self._batch_size = batch_size
        self._callbacks = callbacks

    def at(self, loss: float) -> dict[str, float]:
        """Returns loss, metrics of the training data, and `val_` of both."""
        logs = {"loss": loss}
        # Without metrics there is nothing that the loss does not say already; several
        # outputs have a metric each, their loss, once they are evaluated.
        if len(self._model.metrics) > 1 or self._data.num_targets > 1:
            logs = {**self._evaluate(self._data), **logs}
        if self._validation is not None:
            found = self._evaluate(self._validation, self._callbacks)
            logs |= {f"val_{name}": value for name, value in found.items()}
        return logs

    def _evaluate(self, data: Data, callbacks=None) -> dict[str, float]:
        dataset = as_dataset(data, self._batch_size)
        if self._model.distribute_strategy.num_replicas_in_sync > 1:
            return metrics.evaluate(self._model, dataset, callbacks)
        return self._model.evaluate(
            dataset, verbose=0, return_dict=True, callbacks=callbacks
        )
