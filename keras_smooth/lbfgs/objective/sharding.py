"""The data of a fit, as one batch, in batches, or shared among the replicas of a strategy.

Each replica evaluates the objective on its share of the rows, the results are summed, and every
worker runs the same minimizer on the same numbers. Decisions that depend on a worker's clock,
callbacks or disk are made by all workers together: if one stopped alone, the others would wait for
its share.
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


class Replicas:
    """The replicas of a strategy.

    The model is not called by `strategy.run`, in which Keras divides its own losses, but not other
    losses, by the number of replicas.

    Args:
        strategy: Strategy with several replicas.

    Attributes:
        count: Number of replicas on all workers.
        replica_ids: Indices of the replicas on this worker.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        self._devices = strategy.extended.worker_devices
        self.count = strategy.num_replicas_in_sync
        replica_ids = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(context.replica_id_in_sync_group)
        )
        self.replica_ids = list(map(int, strategy.experimental_local_results(replica_ids)))
        self._compiled_sum = traced(self._sum_over_workers)

    @property
    def is_chief(self) -> bool:
        """Whether this process has the first replica."""
        return self.replica_ids[0] == 0

    @property
    def has_several_workers(self) -> bool:
        """Whether other processes have replicas too."""
        return len(self._devices) < self.count

    def on_each_device(self, make: Callable, values: Sequence) -> tuple:
        """Calls a function for each replica of this worker, on its device; returns all results."""
        results = []
        for value, device in zip(values, self._devices):
            with tf.device(device):
                results.append(make(value))
        return tuple(results)

    def evaluate_all_rows(
        self, function: Callable, position: tf.Tensor, data: tuple
    ) -> tuple:
        """Returns value and gradient over the rows of all replicas, as in micro_batches.py."""
        evaluate = functools.partial(micro_batches.evaluate_all_rows, function, position)
        by_replica = self.on_each_device(evaluate, data)
        return tuple(
            self._sum_over_workers(tf.add_n(values)) for values in zip(*by_replica)
        )

    def any_of(self, *flags: bool) -> list[bool]:
        """Returns, for each flag, whether any worker has set it; the same on every worker."""
        return [bool(column.any()) for column in self._gather(flags).T]

    def check_same(self, **digests: str) -> None:
        """Raises an error on every worker if the workers have different digests.

        Raises:
            ValueError: If digests differ; the message has their names.
        """
        table = self._gather([int(digest[:15], 16) for digest in digests.values()])
        same = (table == table[0]).all(axis=0)
        others = [name for name, is_same in zip(digests, same) if not is_same]
        if others:
            raise ValueError(
                f"The workers do not have the same {', '.join(others)}. Every worker must pass "
                "the same model and data, and a checkpoint directory that all of them can read."
            )

    def _sum_over_workers(self, value: tf.Tensor) -> tf.Tensor:
        if not self.has_several_workers:
            return value

        # The value of a worker is added once, by its first replica.
        def share(value: Any) -> Any:
            replica_id = tf.distribute.get_replica_context().replica_id_in_sync_group
            is_first = replica_id % len(self._devices) == 0
            return tf.where(is_first, value, tf.zeros_like(value))

        shares = self._strategy.run(share, args=(value,))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None)

    def _gather(self, numbers: Sequence[int]) -> np.ndarray:
        """Returns the numbers of all workers, with a row for each replica."""
        table = np.zeros((self.count, len(numbers)), np.int64)
        table[self.replica_ids] = numbers
        return self._compiled_sum(tf.constant(table)).numpy()


def strategy_of(model: keras.layers.Layer) -> tf.distribute.Strategy:
    """Returns the strategy of a model; for a layer, which has none, the current one."""
    return getattr(model, "distribute_strategy", None) or tf.distribute.get_strategy()


def replicas_of(model: keras.layers.Layer) -> Replicas | None:
    """Returns the replicas of the strategy of a model, or None if there is only one."""
    strategy = strategy_of(model)
    return Replicas(strategy) if strategy.num_replicas_in_sync > 1 else None


def shard(
    data: TrainingData,
    objective: Objective,
    replicas: Replicas | None,
    batch_size: int | None,
) -> Any:
    """Returns the data in the form that a minimizer needs: as one batch, in batches, or shared.

    Args:
        data: Rows or points.
        objective: The objective, evaluated to find out whether it is an average over rows.
        replicas: The replicas that share the rows, or None.
        batch_size: Rows that one device evaluates at once, or None for all. On several devices,
            the last batch has one row more if the rows cannot be shared evenly.

    Raises:
        ValueError: If the data must be cut, but the objective is neither an average nor a sum
            over rows; if points cannot be shared evenly; or if there are fewer rows than
            replicas.
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
        shards = (data.parts.shard(count, i) for i in replicas.replica_ids)
        return tuple(stream._replace(dataset=dataset) for dataset in shards)
    total = micro_batches.num_rows(data.parts)
    if total < count:
        raise ValueError(f"{count} replicas need as many rows, received {total}.")

    def batches(replica_id: int) -> micro_batches.Rows:
        rows = micro_batches.share_of_rows(data.parts, replica_id, count)
        # Shares may differ by one row. Each leaves at least one row for the last batch.
        num_batches = (size // count - bool(replicas)) // batch_size
        return micro_batches.cut_into_batches(
            rows, batch_size, num_batches, total if is_average else None, dtype
        )

    if not replicas:
        return batches(0)
    return replicas.on_each_device(batches, replicas.replica_ids)


def _is_average_over_points(points: tuple, objective: Objective, count: int) -> bool:
    """Returns True if an objective is the average over the shares of replicas, False for the sum.

    Raises:
        ValueError: If the objective is neither, or the points cannot be shared evenly.
    """
    sizes = [len(leaf) for leaf in tf.nest.flatten(points) if leaf is not None]
    if any(size % count for size in sizes):
        raise ValueError(
            f"{count} replicas share the points of an objective evenly, but the numbers of rows "
            f"of x are {', '.join(map(str, sizes))}: pass multiples of {count}."
        )
    pieces = [micro_batches.share_of_rows(points, i, count) for i in range(count)]
    return _is_average(objective, points, pieces, count * [1])


def _is_average_over_rows(data: TrainingData, objective: Objective) -> bool:
    """Returns True if an objective is an average over rows, False for a sum, tested on a few rows.

    A single row is never cut, so that the result is True.
    """

    def with_varied_weights(sample_weight: tf.Tensor) -> tf.Tensor:
        # These weights differ from row to row. The user's weights of a few rows may be equal.
        size, *others = sample_weight.shape
        column = tf.reshape(tf.linspace(1.0, 2.0, size), (size, *[1] * len(others)))
        return tf.cast(tf.broadcast_to(column, sample_weight.shape), sample_weight.dtype)

    x, y, sample_weight = data.sample()
    sample = (x, y, micro_batches.map_tensors(with_varied_weights, sample_weight))
    size = micro_batches.num_rows(sample)
    # Two parts of unequal size distinguish the average of all rows from the average of averages.
    cut = max(1, (2 * size) // 3)
    parts = [micro_batches.slice_rows(sample, *ends) for ends in ((0, cut), (cut, size))]
    return size < 2 or _is_average(objective, sample, parts, [cut, size - cut])


def _is_average(objective: Objective, whole: Any, parts: list, sizes: list[int]) -> bool:
    """Returns True if the loss of all rows is the average of those of parts, False for the sum.

    Raises:
        ValueError: If it is neither.
    """
    position = perturbed(objective.position)
    loss, *losses = (objective.value(position, rows).numpy() for rows in (whole, *parts))
    scale = np.abs([loss, *losses]).max()
    tolerance = np.sqrt(np.finfo(loss.dtype).eps) * scale
    # `OptimizationRun` reports a loss that is not finite.
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


def perturbed(start: tf.Tensor) -> tf.Tensor:
    """Returns other weights than the initial ones, since a layer of zeros would hide others."""
    return start + 0.1 * tf.cos(tf.range(len(start), dtype=start.dtype))
