"""The objective on several devices: every replica computes its share of the rows.

The shares are summed, and the same minimizer runs on every worker on the same numbers. What a
worker knows alone (its clock, its callbacks, its disk) is decided in common: a worker that
stops by itself would leave the others waiting for its share.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.data.training_data import ObjectivePoints, TrainingData
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.models.tracing import traced

# Number of rows with which a loss is tested for being an average over rows.
_SAMPLE = 64


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
        """Returns the results of a function for each replica of this worker, on its device."""
        results = []
        for value, device in zip(values, self._devices):
            with tf.device(device):
                results.append(make(value))
        return tuple(results)

    def evaluate_all_rows(
        self, function: Callable, position: tf.Tensor, data: tuple
    ) -> tuple:
        """Returns value and gradient over the rows of all replicas; see `micro_batches.evaluate_all_rows`."""
        evaluate = functools.partial(micro_batches.evaluate_all_rows, function, position)
        by_replica = self.each(evaluate, data)
        return tuple(self._sum(tf.add_n(values)) for values in zip(*by_replica))

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
                f"The workers do not have the same {', '.join(others)}. Every worker must pass "
                "the same model and data, and a checkpoint directory that all of them can read."
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


def shard(
    data: TrainingData,
    objective: Objective,
    replicas: Replicas | None,
    batch_size: int | None,
) -> Any:
    """Returns the data of the minimizer of an objective.

    Args:
        data: Rows or points.
        objective: Tells whether it is an average over rows, if they are cut.
        replicas: The replicas that share the rows, or None.
        batch_size: Rows that one device evaluates at once, or None for all; on several
            devices one more in the last batch if the rows do not divide evenly.

    Raises:
        ValueError: If the objective is neither an average nor a sum, but must be cut,
            points cannot be shared evenly, or there are fewer rows than replicas.
    """
    dtype, size = objective.dtype, data.num_rows
    batch_size = batch_size or size
    if data.in_memory and not replicas and batch_size >= size:
        return micro_batches.as_one_batch(data.parts, dtype)
    count = replicas.count if replicas else 1
    if isinstance(data, ObjectivePoints):
        is_average = _is_average_over_points(data.parts, objective, count)
    else:
        is_average = _is_average_over_rows(data, objective)
    if not data.in_memory:
        stream = micro_batches.Stream(data.parts, tf.constant(is_average * size, dtype))
        if not replicas:
            return stream
        shards = [data.parts.shard(count, place) for place in replicas.places]
        return tuple(stream._replace(dataset=dataset) for dataset in shards)
    total = micro_batches.num_rows(data.parts)
    if total < count:
        raise ValueError(f"{count} replicas need as many rows, received {total}.")

    def batches(place: int) -> micro_batches.Rows:
        rows = micro_batches.share_of_rows(data.parts, place, count)
        # A share may have a row more than another: all leave one for the rest.
        num_batches = (size // count - bool(replicas)) // batch_size
        return micro_batches.cut_into_batches(
            rows, batch_size, num_batches, total if is_average else None, dtype
        )

    return replicas.each(batches, replicas.places) if replicas else batches(0)


def _is_average_over_points(points: tuple, objective: Objective, count: int) -> bool:
    """Returns whether an objective is the average over the shares of replicas, or their sum.

    Raises:
        ValueError: If it is neither, or the points cannot be shared evenly.
    """
    sizes = [len(leaf) for leaf in tf.nest.flatten(points) if leaf is not None]
    if any(size % count for size in sizes):
        raise ValueError(
            f"{count} replicas share the points of an objective evenly, but x has "
            f"{', '.join(map(str, sizes))} rows: pass multiples of {count}."
        )
    pieces = [micro_batches.share_of_rows(points, i, count) for i in range(count)]
    return _is_average(objective, points, pieces, count * [1])


def _is_average_over_rows(data: TrainingData, objective: Objective) -> bool:
    """Returns whether an objective is an average over rows, by a few of them, or their sum.

    A single row is never cut: of it True.
    """

    def spread(sample_weight: tf.Tensor) -> tf.Tensor:
        # Weights that differ from row to row: those of the first rows may be all alike.
        size, *others = sample_weight.shape
        column = tf.reshape(tf.linspace(1.0, 2.0, size), (size, *[1] * len(others)))
        return tf.cast(tf.broadcast_to(column, sample_weight.shape), sample_weight.dtype)

    x, y, sample_weight = data.sample(_SAMPLE)
    sample = (x, y, micro_batches.map_tensors(spread, sample_weight))
    size = micro_batches.num_rows(sample)
    # Parts of unequal size tell the average of all rows from the average of averages.
    cut = max(1, (2 * size) // 3)
    parts = [micro_batches.slice_rows(sample, *ends) for ends in ((0, cut), (cut, size))]
    return size < 2 or _is_average(objective, sample, parts, [cut, size - cut])


def _is_average(objective: Objective, whole: Any, parts: list, sizes: list[int]) -> bool:
    """Returns whether an objective is the average of that of parts, or else their sum.

    Raises:
        ValueError: If it is neither.
    """
    position = moved(objective.position)
    loss, *losses = (objective.value(position, rows).numpy() for rows in (whole, *parts))
    scale = np.abs([loss, *losses]).max()
    tolerance = np.sqrt(np.finfo(loss.dtype).eps) * scale
    # The run reports a loss that is not finite.
    if not np.isfinite(scale) or abs(np.average(losses, weights=sizes) - loss) <= tolerance:
        return True
    if abs(sum(losses) - loss) <= tolerance:
        return False
    raise ValueError(
        f"The loss is neither an average nor a sum over rows: of all at once it is {loss:.6g}, of "
        f"parts in the ratio of {':'.join(map(str, sizes))} "
        f"{' and '.join(f'{value:.6g}' for value in losses)}. In batches, or on several devices, "
        "it would be another loss. BatchNormalization in training mode, Dropout, masks and a sum "
        "beside a regularizer do this: leave out `batch_size`, build the model outside of "
        "strategy.scope(), freeze such layers, or take means over the rows."
    )


def moved(start: tf.Tensor) -> tf.Tensor:
    """Returns other weights, at which nothing is 0 because a layer begins so."""
    # At the start a head of zeros may hide the layers before it.
    return start + 0.1 * tf.cos(tf.range(len(start), dtype=start.dtype))
