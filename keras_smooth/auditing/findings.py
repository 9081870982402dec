"""Findings: what was measured along a line, and which of several is the worst."""

import dataclasses
import math

import numpy as np

from keras_smooth.auditing.verdicts import VERDICTS, severity

TOLERANCE = 1e-6
# What a derivative in float32 is held to, in rounding errors: 1e-4.
SINGLE_FACTOR = 1e3
# The part of a derivative of lower order that the scale of an error includes.
LOWER = 1e-3


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was measured along one line.

    Args:
        verdict: A name in `VERDICTS`.
        order: The first order at fault; 0 where nothing is.
        error: The largest relative error of a derivative at a point where it exists.
        reason: The cause, where there is more to say than the verdict.
        jump: The lowest order whose derivative was seen to jump; `math.inf` if none was.
        bound: The relative error up to which a derivative counts as right.
        precision: Relative errors of the derivatives in the layer's own dtype.
        in_doubt: Whether a whole model has to tell: away from the values of the call there
            is a pole, an end of the domain, or a step.
        affine: Whether it is that of a function that is affine on all lines.
        note: What was seen away from the values that are asked about.
    """

    verdict: str
    order: int = 0
    error: float = 0.0
    reason: str = ""
    jump: float = math.inf
    bound: float = TOLERANCE
    precision: tuple[float, ...] = ()
    in_doubt: bool = False
    affine: bool = False
    note: str = ""


# By mode. Training is missing where it does not differ from inference.
Findings = dict[str, Finding]


def worst(findings: list[Finding]) -> Finding:
    """Returns the finding that is lost at the lowest order, the most severe of those.

    Its error is the largest of all, and its jump the lowest.
    """
    faults = [found for found in findings if VERDICTS[found.verdict].is_fault]
    pool = faults or findings
    first = min(found.order for found in pool)
    chosen = max(
        (found for found in pool if not faults or found.order == first),
        key=lambda found: severity(found.verdict),
    )
    return dataclasses.replace(
        chosen,
        error=max(found.error for found in findings),
        jump=min(found.jump for found in findings),
        bound=max(found.bound for found in findings),
        in_doubt=any(found.in_doubt for found in findings),
        affine=all(found.affine for found in findings),
        note=next((found.note for found in findings if found.note), ""),
        precision=tuple(map(max, zip(*(f.precision for f in findings if f.precision)))),
    )


def of_error(values: np.ndarray, missing: bool, order: int, error: float) -> Finding:
    """Returns the finding for derivatives that are wrong: there, zero or None.

    Args:
        values: The derivatives, where they are wrong.
        missing: Whether TensorFlow says None.
        order: Their order.
        error: The largest relative error.
    """
    verdict = "none" if missing else "wrong" if values.any() else "zero"
    return Finding(verdict, order, error)


def tolerance(rounding: float) -> float:
    """Returns the error up to which a derivative is right."""
    return max(TOLERANCE, SINGLE_FACTOR * rounding)


def is_single(rounding: float) -> bool:
    """Returns whether a function has no more than float32's digits."""
    return tolerance(rounding) > TOLERANCE
