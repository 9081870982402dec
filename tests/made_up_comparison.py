"""Results of a comparison that nobody has run."""

import numpy as np

from keras_smooth.comparison import learning, problems
from keras_smooth.comparison.experiment import Outcome, Run
from keras_smooth.comparison.results import Results
from keras_smooth.comparison.settings import Settings


def made_up(d2y_by_name, failed=(), problem="gaussian", beside=()):
    """Returns results with these errors of y'', one a seed; None stands for a lost y''."""
    settings = Settings(
        activations=tuple(d2y_by_name), seeds=2, problem=problem, beside=beside
    )
    found = Results(settings, problems.load_problem(problem), seconds=1.0)
    for name, values in d2y_by_name.items():
        for seed, value in enumerate(values):
            found.outcomes[name, "default", seed, "lbfgs"] = outcome(
                found, name, seed, value, name not in failed
            )
    for method in beside:
        name = settings.activation_beside()
        found.outcomes[name, "default", 0, method] = outcome(found, name, 0, 0.5, True)
    return found


def outcome(results, name, seed, d2y_mse, success):
    x = results.problem.x
    second = None if d2y_mse is None else -np.sin(x)
    run = Run(name, seed, success, 1, "m.", 0.5, 9, 9, 0, 1e-9, 1e-9, 1e-9, d2y_mse, 1.0)
    curve = {key: [0.5, 0.25 / (seed + 1)] for key in learning.COLUMNS}
    curve |= {"iteration": [5, 9], "cpu_seconds": [0.0, 0.5 + seed]}
    curve |= {"d2y_mse": [0.9, d2y_mse]}
    return Outcome(run, (np.sin(x), np.cos(x), second), curve)
