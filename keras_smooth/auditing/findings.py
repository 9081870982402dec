"""Verdicts and causes of findings, one row each."""

import dataclasses
import enum
import math
from collections.abc import Iterable, Sequence

from keras_smooth.presentation.tables import Tone


class Verdict(str, enum.Enum):
    """The verdict on a layer or a model, with the exit status of `keras-smooth audit`.

    The members are in order, the best first.
    """

    words: str
    exit_status: int
    tone: Tone

    PROVEN = (
        "proven",
        "all operations are known, smooth at the samples, and TensorFlow's own derivatives of "
        "them are right",
        0,
        Tone.GOOD,
    )
    CHECKED = (
        "checked",
        "measured at the samples, where the derivatives are right",
        0,
        Tone.GOOD,
    )
    NOT_EXAMINED = ("not examined", "nothing is known of its derivatives", 3, Tone.UNSURE)
    FAULTY = ("faulty", "a derivative is wrong, not there, or jumps", 1, Tone.BAD)

    __str__ = str.__str__

    def __new__(cls, value: str, words: str, exit_status: int, tone: Tone) -> "Verdict":
        verdict = str.__new__(cls, value)
        verdict._value_ = value
        verdict.words, verdict.exit_status, verdict.tone = words, exit_status, tone
        return verdict

    @classmethod
    def worst(cls, verdicts: Iterable["Verdict"]) -> "Verdict":
        """Returns the worst of several verdicts, or PROVEN if there are none."""
        return max(verdicts, key=list(cls).index, default=cls.PROVEN)


_REPAIR = "docs/howto/audit_and_repair.md"


class Cause(str, enum.Enum):
    """The reason of a verdict. The causes of one verdict are in order, the least severe first.

    Attributes:
        verdict: The verdict.
        words: The meaning of the cause, as it is printed.
        remedy: The default advice.
        page: The page of the documentation that explains the cause, or "".
    """

    verdict: Verdict
    words: str
    remedy: str
    page: str

    NONE = ("", Verdict.PROVEN)
    MEASURED = ("measured", Verdict.CHECKED)
    NOT_CALLED = ("not called", Verdict.NOT_EXAMINED, "the model does not call it")
    UNKNOWN = (
        "unknown",
        Verdict.NOT_EXAMINED,
        "it could neither be read nor measured",
        "use verify=True, which compares derivatives with values of the model",
        _REPAIR,
    )
    MIXED = (
        "mixed",
        Verdict.NOT_EXAMINED,
        "the output for a sample depends on other samples: it has no derivatives by sample",
        "compute each sample from its own input alone",
        "docs/limits.md",
    )
    COMPLEX = (
        "complex",
        Verdict.NOT_EXAMINED,
        "its outputs are complex, and derivatives are those of real numbers",
        "return keras.ops.real(y) and keras.ops.imag(y)",
        "docs/limits.md",
    )
    TEXT = (
        "text",
        Verdict.NOT_EXAMINED,
        "an output is text, which has no derivatives",
        "return tensors of floats only",
        "docs/limits.md",
    )
    IMPRECISE = (
        "imprecise",
        Verdict.FAULTY,
        "its dtype loses digits that the model has",
        "let it compute in the dtype of the model, or in float32 or float64",
        "docs/howto/precision.md",
    )
    WRONG = (
        "wrong",
        Verdict.FAULTY,
        "TensorFlow's own derivative is wrong or missing",
        "leave it out where derivatives are needed",
        "docs/keras_derivatives.md",
    )
    NOT_SMOOTH = (
        "not smooth",
        Verdict.FAULTY,
        "its pieces do not join smoothly enough: the derivative jumps",
        "use a smooth function",
        _REPAIR,
    )
    NAN = (
        "nan",
        Verdict.FAULTY,
        "the samples reach the edge of a domain: the derivative is not finite",
        "keep its inputs away from the edge, or guard root and division with where",
        "docs/limits.md",
    )

    __str__ = str.__str__

    def __new__(
        cls, value: str, verdict: Verdict, words: str = "", remedy: str = "", page: str = ""
    ) -> "Cause":
        cause = str.__new__(cls, value)
        cause._value_, cause.verdict = value, verdict
        cause.words, cause.remedy, cause.page = words, remedy, page
        return cause


@dataclasses.dataclass(frozen=True)
class Finding:
    """A finding on a layer in one mode.

    Args:
        cause: The cause.
        order: The lowest order whose derivative is lost or wrong; 0 if there is none.
        reason: Details, in addition to the words of the cause.
        by_jets: Whether the derivative by Taylor mode is right.
    """

    cause: Cause
    order: int = 0
    reason: str = ""
    by_jets: bool = False

    def with_reason(self, words: str) -> "Finding":
        """Returns the finding with words put before its reason."""
        reason = "; ".join(filter(None, (words, self.reason)))
        return dataclasses.replace(self, reason=reason)


FINE = Finding(Cause.NONE)
# The modes of a model, the keys of findings.
MODES = ("inference", "training")


def worst(findings: Sequence[Finding]) -> Finding:
    """Returns the worst finding, with the reasons of all findings of its cause and order.

    Among faults, the worst is the one of the lowest order, and then the most severe one.
    """
    alone = worst_alone(findings)
    words = [f.reason for f in findings if (f.cause, f.order) == (alone.cause, alone.order)]
    return dataclasses.replace(alone, reason="; ".join(filter(None, dict.fromkeys(words))))


def worst_alone(findings: Iterable[Finding]) -> Finding:
    """Returns the worst finding, with its own reason only."""
    return max(findings, key=severity, default=FINE)


def severity(finding: Finding) -> tuple:
    """Returns the key by which findings are compared, which is larger for a worse finding."""
    verdict = list(Verdict).index(finding.cause.verdict)
    # An imprecise dtype has no order. Any other fault is more specific, and worse.
    order = -finding.order if finding.order else -math.inf
    return verdict, order, list(Cause).index(finding.cause)
