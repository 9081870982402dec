"""Variables that training changes without a gradient, such as moving averages."""

from collections.abc import Callable

import keras
import numpy as np

from keras_smooth.lbfgs.objective.objective import Objective


def recalibrate(
    objective: Objective, variables: list[keras.Variable], batches: Callable
) -> None:
    """Gives every moving average the value that it would approach at these weights.

    Args:
        objective: Objective whose weights are in the model.
        variables: The moving averages.
        batches: Returns an iterator over the batches `(x, y, sample_weight)` of all rows.
    """
    values = [[np.asarray(variable) for variable in variables]]
    for _ in range(2):
        # One epoch of training.
        for batch in batches():
            for variable, value in objective.after_training(batch):
                variable.assign(value)
        values.append([np.asarray(variable) for variable in variables])
    for variable, *three in zip(variables, *values):
        variable.assign(limit(*three))


def limit(start: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns where a sequence goes that is an exponential average of a constant.

    Its steps shrink by one factor, the momentum (Aitken's delta-squared process, exact
    here). Where they do not shrink it is no average, and the first step is the answer.
    """
    step, change = first - start, second - first
    shrinks = np.abs(change) < np.abs(step)
    ratio = np.where(shrinks, change / np.where(shrinks, step, 1.0), 0.0)
    return np.where(shrinks & (ratio >= 0.0), start + step / (1.0 - ratio), first)
