"""The metrics of a model that was made for several devices.

Keras' own `evaluate` fails there where the rows of the first batch do not divide evenly, and
on several workers altogether.
"""

from collections.abc import Iterable

import keras


def evaluate(
    model: keras.Model, batches: Iterable, callbacks: keras.callbacks.CallbackList | None
) -> dict[str, float]:
    """Returns what `model.evaluate` would, from this process' first device alone.

    Args:
        model: Built and compiled model.
        batches: Tuples `(x, y)` or `(x, y, sample_weight)`.
        callbacks: Told of the evaluation, or None.
    """
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
