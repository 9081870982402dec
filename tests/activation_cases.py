"""The rows of the registry as test cases; a new row is tested with its defaults."""

import dataclasses
from collections.abc import Callable

import numpy as np
import one_sided

from keras_smooth import activations, registry

# Points at which a function that is registered as smooth may have a joint.
CANDIDATES = (-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0)

# The parameters with which the tests call an activation, by its name. Other activations are
# tested with their defaults alone.
EXAMPLES = {
    "celu": ({}, {"alpha": 2.0}),
    "elu": ({}, {"alpha": 2.0}),
    "gelu": ({}, {"approximate": True}),
    "leaky_relu": ({}, {"negative_slope": 0.3}, {"negative_slope": 1.0}),
    "relu": (
        {},
        {"negative_slope": 1.0},
        {"negative_slope": 0.25, "max_value": 0.75},
        {"negative_slope": 0.5, "threshold": 1.0},
    ),
    "sharp_softplus": ({}, {"sharpness": 5.0}),
    "sin": ({}, {"w0": 3.0}),
    "smelu": ({}, {"beta": 2.0}),
    "smooth_elu": ({}, {"alpha": 1.5, "scale": 2.0, "width": 0.5, "sharpness": 4.0}),
    "smooth_ramps": (
        {"knots": (0.0,), "weights": (1.0,)},
        {"knots": (-0.5, 0.5), "weights": (-1.0, 1.0), "slope": 1.0, "offset": 0.5},
        {"knots": (0.2,), "weights": (0.8,), "sharpness": 3.0},
    ),
    "smooth_softsign": ({}, {"sharpness": 3.0}),
    "snake": ({}, {"a": 2.0}),
    "squareplus": ({}, {"b": 1.0}, {"b": 0.0}),
    "threshold": ({"threshold": 0.5, "default_value": 0.0},),
}


def examples(row: registry.Row) -> tuple[dict, ...]:
    """Returns the parameters with which the tests call the activation of a row."""
    return EXAMPLES.get(row.subject.__name__, ({},))


@dataclasses.dataclass(frozen=True)
class Case:
    """An activation with parameters."""

    row: registry.Row
    parameters: dict

    @property
    def function(self) -> Callable:
        function = self.row.subject
        return (
            activations.partial(function, **self.parameters)
            if self.parameters
            else function
        )

    def along(self, x: np.ndarray, component: int = 0) -> np.ndarray:
        """Returns f(x), or an entry of f((x, -x)) of a function of several numbers."""
        if self.row.mixes:
            return np.asarray(self.function(np.stack([x, -x], axis=-1)))[..., component]
        return np.asarray(self.function(x))

    def breakpoints(self) -> list[float]:
        """Returns all points that may be breakpoints: from the row, parameters and candidates.

        One-sided limits need a neighbourhood without another joint.
        """
        numbers = [p for p in self.parameters.values() if isinstance(p, float)]
        breakpoints = {*self.row.breakpoints, *numbers, *(-p for p in numbers)}
        others = (
            c for c in CANDIDATES if all(abs(c - p) > one_sided.WIDTH for p in breakpoints)
        )
        return sorted({*breakpoints, *others})


def _name(case: Case) -> str:
    owner = case.row.subject.__module__.partition(".")[0]
    values = [f"{key}={value}" for key, value in case.parameters.items()]
    return " ".join([owner, case.row.subject.__name__, *values])


_cases = [Case(row, p) for row in registry.activation_rows() for p in examples(row)]
ACTIVATIONS = {_name(case): case for case in _cases}
