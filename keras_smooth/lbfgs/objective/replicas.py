"""The objective on several devices: every replica computes its share of the rows.

The shares are summed, and the same minimizer runs on every worker on the same numbers. What a
worker knows alone (its clock, its callbacks, its disk) is decided in common: a worker that
stops by itself would leave the others waiting for its share.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.models.tracing import traced


class Replicas:
    """The replicas of a strategy.

    The model runs outside of `strategy.run`, where Keras divides its losses, but not the
    losses of everybody else, by the number of replicas.

    Args:
        strategy: Strategy with several replicas.

    Attributes:
        count: Number of replicas, on all workers.
        places: Which of them are on this worker.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        self._devices = strategy.extended.worker_devices
        self.count = strategy.num_replicas_in_sync
        places = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(context.replica_id_in_sync_group)
        )
        self.places = [int(p) for p in strategy.experimental_local_results(places)]
        self._compiled_sum = traced(self._sum)

    @property
    def is_chief(self) -> bool:
        """Whether this process has the first of the replicas."""
        return self.places[0] == 0

    @property
    def several_workers(self) -> bool:
        """Whether there are replicas in other processes."""
        return len(self._devices) < self.count

    def each(self, make: Callable, values: Sequence) -> tuple:
        """Returns what is made of a value for each replica of this worker, on its device."""
        results = []
        for value, device in zip(values, self._devices):
            with tf.device(device):
                results.append(make(value))
        return tuple(results)

    def over_all_rows(self, function: Callable, position: tf.Tensor, data: tuple) -> tuple:
        """Returns what `micro_batches.over_all_rows` does, for the rows of all replicas."""
        parts = self.each(
            lambda rows: micro_batches.over_all_rows(function, position, rows), data
        )
        return tuple(self._sum(tf.add_n(part)) for part in zip(*parts))

    def any_of(self, *flags: bool) -> list[bool]:
        """Returns which flags are set on some worker, on every worker the same."""
        return [bool(column.any()) for column in self._gathered(flags).T]

    def check_same(self, **digests: str) -> None:
        """Raises an error on every worker if one has other digests.

        Raises:
            ValueError: If there is another, with its names.
        """
        table = self._gathered([int(digest[:15], 16) for digest in digests.values()])
        same = (table == table[0]).all(axis=0)
        others = [name for name, is_same in zip(digests, same) if not is_same]
        if others:
            raise ValueError(
                f"The workers do not have the same {', '.join(others)}. Every worker must "
                "pass the same model and data, and a checkpoint directory that all of them "
                "can read."
            )

    def _sum(self, value: tf.Tensor) -> tf.Tensor:
        if not self.several_workers:
            return value

        def share(value: Any) -> Any:
            place = tf.distribute.get_replica_context().replica_id_in_sync_group
            first = place % len(self._devices) == 0
            return tf.where(first, value, tf.zeros_like(value))

        shares = self._strategy.run(share, args=(value,))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None)

    def _gathered(self, numbers: Sequence[int]) -> np.ndarray:
        """Returns the numbers of all replicas, a row each."""
        table = np.zeros((self.count, len(numbers)), np.int64)
        table[self.places] = numbers
        return self._compiled_sum(tf.constant(table)).numpy()


def strategy_of(model: keras.layers.Layer) -> tf.distribute.Strategy:
    """Returns the strategy that a model was made under; a layer alone keeps none."""
    return getattr(model, "distribute_strategy", None) or tf.distribute.get_strategy()


def replicas_of(model: keras.layers.Layer) -> Replicas | None:
    """Returns the replicas that a model was made for, or None if there is one only."""
    strategy = strategy_of(model)
    return Replicas(strategy) if strategy.num_replicas_in_sync > 1 else None
