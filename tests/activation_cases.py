"""The registry's rows as test cases: a new row is tested by being there."""

import dataclasses
from collections.abc import Callable

import numpy as np
import one_sided

from keras_smooth import activations, registry

# Where a function that claims to be smooth may have a joint.
CANDIDATES = (-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0)


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
        """Returns f(x), or of a function of several numbers an entry of f((x, -x))."""
        if self.row.mixes:
            return np.asarray(self.function(np.stack([x, -x], axis=-1)))[..., component]
        return np.asarray(self.function(x))

    def joints(self) -> list[float]:
        """Returns all points that may be joints: from the row, parameters and candidates.

        One-sided limits need a neighbourhood without another joint.
        """
        numbers = [p for p in self.parameters.values() if isinstance(p, float)]
        own = {*self.row.joints, *numbers, *(-p for p in numbers)}
        far = (c for c in CANDIDATES if all(abs(c - p) > one_sided.WIDTH for p in own))
        return sorted({*own, *far})


def _name(case: Case) -> str:
    owner = case.row.subject.__module__.partition(".")[0]
    values = [f"{key}={value}" for key, value in case.parameters.items()]
    return " ".join([owner, case.row.subject.__name__, *values])


_cases = [Case(row, p) for row in registry.activation_rows() for p in row.examples]
ACTIVATIONS = {_name(case): case for case in _cases}
