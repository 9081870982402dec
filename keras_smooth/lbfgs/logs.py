"""What the callbacks of a full-batch fit are told: loss, metrics and validation."""

from typing import Any

import keras

from keras_smooth.lbfgs import metrics, rows
from keras_smooth.lbfgs.data import Data


class Logs:
    """The logs of an epoch, at the weights that the model has.

    Args:
        model: The fitted model.
        data: The data it is fitted to.
        validation: `(x, y, sample_weight)`, a dataset, or None.
        batch_size: Rows to evaluate at once, None for all.
        callbacks: Told of the validation, as by `fit`.
    """

    def __init__(
        self,
        model: keras.Model,
        data: Data,
        validation: Any,
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
        # Without metrics there is nothing that the loss does not say already.
        if len(self._model.metrics) > 1:
            logs = {**self._evaluate(self._data.parts), **logs}
        if self._validation is not None:
            found = self._evaluate(self._validation, self._callbacks)
            logs |= {f"val_{name}": value for name, value in found.items()}
        return logs

    def _evaluate(self, data: Any, callbacks=None) -> dict[str, float]:
        if self._model.distribute_strategy.num_replicas_in_sync > 1:
            batches = metrics.in_batches(data, self._batch_size)
            return metrics.evaluate(self._model, batches, callbacks)
        arguments = {"verbose": 0, "return_dict": True, "callbacks": callbacks}
        if not isinstance(data, (tuple, list)):
            return self._model.evaluate(data, **arguments)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tuple(data))
        size = self._batch_size or rows.num_rows(x)
        return self._model.evaluate(
            x, y, sample_weight=sample_weight, batch_size=size, **arguments
        )
