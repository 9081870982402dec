"""The objective on several devices: every replica takes its share of the rows.

References:
    tf.distribute: the value and the gradient of each replica are summed over all of them, so
    that the same minimizer runs everywhere on the same numbers.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.lbfgs import rows


def strategy_of(model: keras.Model) -> tf.distribute.Strategy | None:
    """Returns the strategy of several replicas that a model was made under, or None."""
    strategy = model.distribute_strategy
    several = strategy is not None and strategy.num_replicas_in_sync > 1
    return strategy if several else None


def distribute(
    strategy: tf.distribute.Strategy,
    data: Any,
    batch_size: int,
    total: int | None,
    dtype: str,
) -> rows.Rows:
    """Returns rows whose tensors are spread over the replicas.

    Args:
        strategy: Strategy with several replicas.
        data: Structure of tensors with all rows, the same on every worker.
        batch_size: Rows that a replica evaluates at once; one more in its last batch where
            the rows do not divide evenly.
        total: Number of all rows, or None where every batch has the weight 1.
        dtype: Of the shares.

    Raises:
        ValueError: If there are fewer rows than replicas.
    """
    count, size = strategy.num_replicas_in_sync, rows.num_rows(data)
    if size < count:
        raise ValueError(f"{count} replicas need as many rows, received {size}.")
    # All replicas need the same structure, so that each has a rest.
    num_batches = (size // count - 1) // batch_size

    def piece(index: int) -> list:
        ends = index * size // count, (index + 1) * size // count
        part = rows.take(data, *ends)
        return rows.in_batches(part, batch_size, num_batches, total, dtype)

    def spread(place: int, leaf: Any) -> Any:
        if leaf is None:
            return None
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.nest.flatten(piece(context.replica_id_in_sync_group))[place]
        )

    leaves = tf.nest.flatten(piece(0))
    spread_leaves = [spread(place, leaf) for place, leaf in enumerate(leaves)]
    return tf.nest.pack_sequence_as(piece(0), spread_leaves)


def evaluate(
    strategy: tf.distribute.Strategy,
    function: Callable,
    position: tf.Tensor,
    data: rows.Rows | rows.Stream,
) -> tuple:
    """Returns value and gradient over the rows of all replicas; see `rows.evaluate`."""

    def on_replica(position, data):
        if isinstance(data, rows.Stream):
            data = _shard(data)
        return rows.evaluate(function, position, data)

    parts = strategy.run(on_replica, args=(position, data))
    return tuple(
        strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in parts
    )


def _shard(stream: rows.Stream) -> rows.Stream:
    context = tf.distribute.get_replica_context()
    shard = stream.dataset.shard(
        context.num_replicas_in_sync, context.replica_id_in_sync_group
    )
    return stream._replace(dataset=shard)
