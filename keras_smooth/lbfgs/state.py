"""State that training moves without a gradient, as BatchNormalization's moving averages."""

import numpy as np

from keras_smooth.lbfgs.objective import Objective


def settle(objective: Objective, data: tuple) -> None:
    """Gives every moving average the value that it would approach at these weights.

    Args:
        objective: Objective whose weights are in the model.
        data: `(x, y, sample_weight)`, all rows.
    """
    before = objective.moving_state(data)
    if not before:
        return
    variables = [variable for variable, _ in before]
    start = [np.asarray(variable) for variable in variables]
    first = _step(objective, data, variables)
    second = _step(objective, data, variables)
    for variable, *values in zip(variables, start, first, second):
        variable.assign(limit(*values))


def _step(objective: Objective, data: tuple, variables: list) -> list[np.ndarray]:
    """Moves the state by one step of training and returns it."""
    for variable, value in objective.moving_state(data):
        variable.assign(value)
    return [np.asarray(variable) for variable in variables]


def limit(start: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns where a sequence goes that is an exponential average of a constant.

    Its steps shrink by one factor, the momentum (Aitken's delta-squared process, exact
    here). Where they do not shrink it is no average, and the first step is the answer.
    """
    step, change = first - start, second - first
    shrinks = np.abs(change) < np.abs(step)
    ratio = np.where(shrinks, change / np.where(shrinks, step, 1.0), 0.0)
    return np.where(shrinks & (ratio >= 0.0), start + step / (1.0 - ratio), first)
