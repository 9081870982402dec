"""Data laid out as a minimizer takes it: at once, in batches, or on several devices."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.data.training_data import ObjectivePoints, TrainingData
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.lbfgs.objective.replicas import Replicas

# Rows on which it is tried whether a loss is an average over rows.
_SAMPLE = 64


def shard(
    data: TrainingData,
    objective: Objective,
    replicas: Replicas | None,
    batch_size: int | None,
) -> Any:
    """Returns what the minimizer of an objective takes as data.

    Args:
        data: Rows or points.
        objective: Tells whether it is an average over rows, where they are cut.
        replicas: The replicas that share the rows, or None.
        batch_size: Rows to evaluate at once, or None for all.

    Raises:
        ValueError: If the objective is neither an average nor a sum, but must be cut, or
            points cannot be shared evenly.
    """
    if isinstance(data, ObjectivePoints):
        return _points(data, objective, replicas)
    dtype, size = objective.dtype, data.num_rows
    batch_size = batch_size or size
    at_once = data.in_memory and not replicas and batch_size >= size
    total = size if at_once or _is_average(objective, data.sample(_SAMPLE)) else None
    if not data.in_memory:
        stream = micro_batches.Stream(data.parts, tf.constant(total or 0, dtype))
        return replicas.distribute_stream(stream) if replicas else stream
    if replicas:
        return replicas.distribute(data.parts, batch_size, total, dtype)
    num_batches = 0 if at_once else size // batch_size
    return micro_batches.cut_into_batches(data.parts, batch_size, num_batches, total, dtype)


def _points(data: ObjectivePoints, objective: Objective, replicas: Replicas | None) -> Any:
    if replicas is None:
        return micro_batches.at_once(data.parts, objective.dtype)
    count = replicas.count
    sizes = [len(leaf) for leaf in tf.nest.flatten(data.parts) if leaf is not None]
    if any(size % count for size in sizes):
        raise ValueError(
            f"{count} replicas share the points of an objective evenly, but x has "
            f"{', '.join(map(str, sizes))} rows: pass multiples of {count}."
        )
    position = _moved(objective.position)
    whole = objective.value(position, data.parts).numpy()
    shares = [
        objective.value(position, micro_batches.piece(data.parts, i, count)).numpy()
        for i in range(count)
    ]
    return replicas.distribute_points(data.parts, _share(whole, shares), objective.dtype)


def _share(whole: np.floating, shares: list[np.floating]) -> float:
    """Returns what the values of equal shares are multiplied by to add up to the whole.

    Raises:
        ValueError: If they do not.
    """
    scale = max(abs(value) for value in (whole, *shares))
    for share in (1.0 / len(shares), 1.0):
        if abs(share * sum(shares) - whole) <= np.sqrt(np.finfo(whole.dtype).eps) * scale:
            return share
    raise ValueError(
        f"The objective is neither an average nor a sum over rows: of all it is {whole:.6g}, "
        f"of {len(shares)} equal shares of the rows "
        f"{', '.join(f'{value:.6g}' for value in shares)}. Several devices cannot share it: "
        "build the model outside of strategy.scope(), or take means over the rows."
    )


def _is_average(objective: Objective, sample: Any) -> bool:
    position = _moved(objective.position)
    # Those of the first rows may be all alike.
    x, y, sample_weight = sample
    sample = (x, y, micro_batches.map_tensors(_spread, sample_weight))
    return micro_batches.is_average(lambda part: objective.value(position, part), sample)


def _moved(start: tf.Tensor) -> tf.Tensor:
    # At the start a head of zeros may hide the layers before it.
    return start + 0.1 * tf.cos(tf.range(len(start), dtype=start.dtype))


def _spread(sample_weight: tf.Tensor) -> tf.Tensor:
    """Returns weights of the same shape that differ from row to row."""
    size, *others = sample_weight.shape
    column = tf.reshape(tf.linspace(1.0, 2.0, size), (size, *[1] * len(others)))
    return tf.cast(tf.broadcast_to(column, sample_weight.shape), sample_weight.dtype)
