"""The article's net and its 1000 points, for benchmarks of optimizers; what an evaluation costs."""

import time
from collections.abc import Callable

import tensorflow as tf

from keras_smooth.comparison import problems
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import RunId, Settings
from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.objective.objective import Objective

REPEATS = 50


def article(
    activation: str = "tanh", seed: int = 0, noise: float = 0.0, architecture: str = "8x20"
) -> tuple:
    """Returns model, objective and data, float64: with 8 x 20 units, 3,001 weights."""
    problem = problems.load_problem("gaussian", noise=noise)
    settings = Settings(activations=(activation,), architecture=architecture)
    experiment = Experiment(settings, {problem.name: problem})
    model = experiment.network(RunId(activation, settings.main, seed))
    x, y = (tf.constant(column[:, None]) for column in problem.draw(seed))
    return model, Objective(model), micro_batches.as_one_batch((x, y, None), "float64")


def evaluation(model, objective: Objective) -> Callable:
    """Returns value and gradient as a function of weights and data."""

    def evaluate(position, data, model=model):  # the objective holds its model weakly
        return micro_batches.evaluate_all_rows(objective.value_and_gradient, position, data)

    return evaluate


def seconds_of(evaluate: Callable, position: tf.Tensor, data) -> float:
    """Returns the CPU seconds of an evaluation inside a compiled program, at the best."""

    @tf.function(jit_compile=True, autograph=False)
    def several(position):
        def move(i, point):
            return i + 1, point - 1e-12 * evaluate(point, data)[1]

        return tf.while_loop(lambda i, _: i < REPEATS, move, (0, position))[1]

    several(position)
    found = []
    for _ in range(10):
        before = time.process_time()
        several(position)
        found.append((time.process_time() - before) / REPEATS)
    return min(found)
