"""The options of a fit, checked once and handed on."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from keras_smooth.checks import choice, finite_number, truth, whole_number
from keras_smooth.lbfgs.minimizers import check_method, num_pairs_of

# Name: which check, smallest value, whether None is allowed.
_NUMBERS: dict[str, tuple[Callable, float, bool]] = {
    "epochs": (whole_number, 1, False),
    "initial_epoch": (whole_number, 0, False),
    "num_correction_pairs": (whole_number, 1, True),
    "max_restarts": (whole_number, 0, False),
    "steps_per_execution": (whole_number, 1, True),
    "batch_size": (whole_number, 1, True),
    "tolerance": (finite_number, 0, False),
    "target": (finite_number, -math.inf, True),
    "max_seconds": (finite_number, 0, True),
    "validation_split": (finite_number, 0, False),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What `fit_lbfgs` was told beside the model and the data; see there.

    Raises:
        TypeError: If one is of the wrong kind.
        ValueError: If one is out of range.
    """

    method: str
    num_correction_pairs: int | None
    jit_compile: bool
    dtype: str | None
    batch_size: int | None
    validation_split: float
    epochs: int
    initial_epoch: int
    steps_per_execution: int | None
    tolerance: float
    target: float | None
    max_seconds: float | None
    max_restarts: int

    def __post_init__(self) -> None:
        check_method(self.method)
        truth("`jit_compile`", self.jit_compile)
        if self.dtype is not None:
            choice("`dtype`", self.dtype, ["float64"])
        for name, (check, least, optional) in _NUMBERS.items():
            value = getattr(self, name)
            if value is not None or not optional:
                check(f"`{name}`", value, least)
        if self.validation_split >= 1:
            raise ValueError(
                f"`validation_split` must be below 1, received {self.validation_split!r}."
            )
        if self.initial_epoch >= self.epochs:
            raise ValueError(
                "`initial_epoch` must be below `epochs`, received "
                f"{self.initial_epoch!r} and {self.epochs!r}."
            )

    @property
    def num_iterations(self) -> int:
        """How many iterations run at most."""
        return self.epochs - self.initial_epoch

    @property
    def chunk(self) -> int:
        """Iterations between two calls of the callbacks."""
        return self.steps_per_execution or math.ceil(self.num_iterations / 100)

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on from a checkpoint."""
        return {"method": self.method, "num_correction_pairs": self.num_correction_pairs}

    def for_size(self, num_rows: int, num_weights: int, dtype: str) -> "Options":
        """Returns the options with a memory that fits a fit's size, unless one was given."""
        given = self.num_correction_pairs
        pairs = num_pairs_of(self.method, given, num_rows, num_weights, dtype)
        return dataclasses.replace(self, num_correction_pairs=pairs)

    def is_reached(self, loss: float) -> bool:
        """Returns whether a loss is at the target."""
        return self.target is not None and loss <= self.target
