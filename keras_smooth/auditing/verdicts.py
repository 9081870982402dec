"""The verdicts and the outcomes: one row each."""

import dataclasses
from collections.abc import Iterable

# Each outcome with the exit status of `keras-smooth audit`, from the best to the worst.
OUTCOMES = {"proven": 0, "not examined": 3, "faulty": 1}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What can be found of the derivatives of a layer.

    Args:
        name: Of the verdict.
        outcome: A name in `OUTCOMES`.
        words: What it says.
        remedy: What to do where the layer has no replacement.
        in_code: Whether it is a fault of the layer's code, wherever it is looked at.
    """

    name: str
    outcome: str
    words: str
    remedy: str = ""
    in_code: bool = False

    @property
    def is_fault(self) -> bool:
        return self.outcome == "faulty"


_LEAVE_OUT = "leave it out where derivatives are needed"
# From the best to the worst.
VERDICTS = {
    verdict.name: verdict
    for verdict in (
        Verdict("ok", "proven", "the derivatives agree with differences up to the bound"),
        Verdict(
            "unknown",
            "not examined",
            "its derivatives could not be held against anything",
            "use verify=True, which holds derivatives against values of the model",
        ),
        Verdict(
            "imprecise",
            "faulty",
            "its dtype loses digits of the derivative that the model has",
            "let it compute in the dtype of the model, or in float32 or float64",
        ),
        Verdict(
            "rough",
            "faulty",
            "less smooth than the order: the derivative jumps",
            "its pieces do not join smoothly: take another function",
        ),
        Verdict(
            "zero",
            "faulty",
            "TensorFlow gives 0 for a derivative that is not 0",
            _LEAVE_OUT,
            in_code=True,
        ),
        Verdict(
            "none",
            "faulty",
            "TensorFlow gives None for a derivative that is not 0",
            _LEAVE_OUT,
            in_code=True,
        ),
        Verdict(
            "wrong",
            "faulty",
            "TensorFlow gives a wrong derivative",
            "replace it: something on its way stops gradients",
            in_code=True,
        ),
        Verdict(
            "nan",
            "faulty",
            "the derivative is not finite where the output is",
            "keep its inputs away from the point, or guard root and division with where",
        ),
        Verdict(
            "raises",
            "faulty",
            "TensorFlow raises instead of giving the derivative",
            "replace it by operations that have gradients",
            in_code=True,
        ),
    )
}


def worst_outcome(names: Iterable[str]) -> str:
    """Returns the worst of several outcomes."""
    return max(names, key=list(OUTCOMES).index)


def severity(name: str) -> int:
    """Returns the place of a verdict, from the best to the worst."""
    return list(VERDICTS).index(name)
