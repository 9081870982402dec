"""Made-up results of a comparison."""

import json
from pathlib import Path

import numpy as np

from keras_smooth import comparison
from keras_smooth.comparison import problems
from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.runs import learning
from keras_smooth.comparison.runs.record import Record, Run
from keras_smooth.comparison.settings import RunId, Settings, Variant
from keras_smooth.lbfgs import Status

SCHEMA = json.loads(
    (Path(comparison.__file__).parent / "results.schema.json").read_text(encoding="utf-8")
)
MAIN = Variant("gaussian", "float64", "default", "gauss_newton")


def key_of(activation, seed=0, **levels):
    """Returns the id of a run in the default variant, with some levels changed."""
    return RunId(activation, MAIN._replace(**levels), seed)


def made_up(d2y_by_name, failed=(), problem="gaussian", baselines=(), **factors):
    """Returns results with these errors of y'', one for each seed; None is a lost y''."""
    settings = Settings(
        activations=tuple(d2y_by_name),
        seeds=2,
        problem=problem,
        baselines=baselines,
        **factors,
    )
    results = Results(settings, problems.load_problems(problem), seconds=1.0)
    for variant in settings.variants():
        for name, values in d2y_by_name.items():
            for seed, value in enumerate(values):
                results.records[RunId(name, variant, seed)] = outcome(
                    results, name, seed, value, name not in failed
                )
    for method in baselines:
        name = settings.baseline_activation()
        baseline = RunId(name, settings.main._replace(method=method), 0)
        results.records[baseline] = outcome(results, name, 0, 0.5, True)
    return results


def outcome(results, name, seed, d2y_mse, succeeded):
    x = results.problem.x
    second = None if d2y_mse is None else -np.sin(x)
    status = Status.ITERATION_LIMIT if succeeded else Status.NON_FINITE
    run = Run(
        name, seed, False, int(status), "m.", 0.5, 9, 9, 0, 1e-9, 1e-9, 1e-9, d2y_mse, 1.0
    )
    curve = {key: [0.5, 0.25 / (seed + 1)] for key in learning.COLUMNS}
    curve |= {"iteration": [5, 9], "cpu_seconds": [0.0, 0.5 + seed]}
    curve |= {"d2y_mse": [0.9, d2y_mse]}
    curves = (np.sin(x), np.cos(x), second)
    if results.problem.dim > 1:
        curves = tuple(exact + 0.1 for exact in results.problem.exact)
    return Record(run, curves, curve)
