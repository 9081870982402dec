"""Verified derivatives: the numbers of an engine against differences of the model."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.differentiation import differences
from keras_smooth.differentiation.cross_check import ROUNDING
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.models import calls
from keras_smooth.presentation.tables import ShownAsTable, Table


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far two ways to one derivative agree.

    Args:
        name: `"y"`, `"dy"`, `"d2y"`, ..., or `"laplacian"`.
        scale: The largest of what is compared, or of what it is made of.
        difference: The largest between the engine's numbers and the differences.
        error: The largest of the differences themselves, as two steps and two degrees
            tell it.
        limit: The largest bound that is accepted.
        worst: The sample with the largest difference and error.
    """

    name: str
    scale: float
    difference: float
    error: float
    limit: float
    worst: int

    @property
    def bound(self) -> float:
        """How wrong the numbers can be at most, if the error is not underestimated."""
        return self.difference + self.error

    @property
    def ok(self) -> bool:
        return bool(self.bound <= self.limit)


@dataclasses.dataclass(frozen=True, repr=False)
class Verification(ShownAsTable):
    """What `verify=True` found: the numbers of an engine against the model's own values.

    The second way uses no derivative of anything: polynomials through values of the model
    near each point, at several distances. `print` and notebooks show a table. It is the attribute
    `verification` of what `derivatives` and `directional` return, and of each tensor that
    `gradient`, `jacobian`, `hessian` and `laplacian` return.

    Args:
        engine: `"jet"` or `"tape"`, of the numbers.
        dtype: In which the model computes.
        num_points: How many points were compared: all.
        agreements: One for each derivative.

    Example:

    >>> import keras, keras_smooth, numpy as np
    >>> values = keras_smooth.derivatives(keras.ops.square, np.ones((3, 1)), verify=True)
    >>> values.verification.ok, values.verification.num_points
    (True, 3)
    >>> bool(values.verification["d2y"].bound < 1e-8)
    True
    """

    engine: str
    dtype: str
    num_points: int
    agreements: tuple[Agreement, ...]

    @property
    def ok(self) -> bool:
        """Whether all derivatives agree within the limits."""
        return all(agreement.ok for agreement in self.agreements)

    def __getitem__(self, name: str) -> Agreement:
        for agreement in self.agreements:
            if agreement.name == name:
                return agreement
        raise KeyError(name)

    def __repr__(self) -> str:
        found = (f"{row.name} to {row.bound:.1e}" for row in self.agreements if row.ok)
        refused = (f"{row.name} {_verdict(row)}" for row in self.agreements if not row.ok)
        return f"<Verification: {self._ways()}: {', '.join([*found, *refused])}>"

    def _ways(self) -> str:
        return (
            f"engine {self.engine!r} against values of the model, "
            f"{self.num_points} points, {self.dtype}"
        )

    def _table(self) -> Table:
        return Table(
            title=self._ways().capitalize(),
            head=("derivative", "largest", "bound", "limit", "verdict"),
            rows=[
                (
                    row.name,
                    *(f"{size:.1e}" for size in (row.scale, row.bound, row.limit)),
                    _verdict(row),
                )
                for row in self.agreements
            ],
        )


def _verdict(row: Agreement) -> str:
    if row.ok:
        return "agrees"
    if row.difference > 3 * row.error:
        return f"differs by {row.difference:.1e} at point {row.worst}"
    return f"cannot be told to better than {row.error:.1e} at point {row.worst}"


class VerifiedDerivatives(tuple):
    """A tuple of derivatives with the `Verification` that they passed.

    Attributes:
        verification: The `Verification`.
    """

    verification: Verification


def with_verification(values: Any, found: tuple) -> Any:
    """Gives each tensor that was made of verified derivatives their `verification`."""
    if isinstance(found, VerifiedDerivatives):
        for tensor in keras.tree.flatten(values):
            tensor.verification = found.verification
    return values


def certified(evaluation: Evaluation) -> VerifiedDerivatives:
    """Returns the derivatives of an evaluation if they agree with values of the model.

    With the engine "auto" the other engine is asked where the faster one does not agree.

    Raises:
        ValueError: If they do not; the message has the table.
    """
    _check(evaluation)
    verified = calls.without_trace(_certified, evaluation)
    evaluation.leave_trace()
    return verified


def _certified(evaluation: Evaluation) -> VerifiedDerivatives:
    reference, first = _Reference(evaluation), None
    for candidate in evaluation.candidates():
        values = candidate.result()
        verification = reference.compared(candidate.engine, values)
        if verification.ok:
            verified = VerifiedDerivatives(values)
            verified.verification = verification
            return verified
        first = first or verification
    raise ValueError(
        f"The derivatives could not be verified.\n{first}\nkeras_smooth.audit(model, x=x) "
        "finds layers at fault. Where a point lies at a kink there is no derivative; where "
        "rounding is too much, compute in float64."
    )


def _check(evaluation: Evaluation) -> None:
    if evaluation.training:
        raise ValueError(
            "verify=True compares values of the model in inference mode: it takes no "
            "training=True."
        )
    if not tf.executing_eagerly():
        raise ValueError("verify=True works outside of tf.function only.")


class _Reference:
    """The same derivatives from values of the model, and how far these can be trusted."""

    def __init__(self, evaluation: Evaluation):
        self.evaluation = evaluation
        propagate = differences.Differences()
        self.values = _flat(evaluation.along_lines(propagate))
        self.disturbed = _flat(evaluation.along_lines(lambda *_, **__: propagate.disturbed))

    def compared(self, engine: str, entries: tuple) -> Verification:
        """Returns how far the derivatives of an engine agree with these."""
        points = self.evaluation.points
        size = differences.extent(points)
        dtype = keras.tree.flatten(entries)[0].dtype.name
        rows, scale = [], 0.0
        triples = zip(_flat(entries), self.values, self.disturbed, strict=True)
        for k, (name, triple) in enumerate(
            zip(self.evaluation.names(), triples, strict=True)
        ):
            scale = max(scale / size, *(np.abs(part).max() for part in triple[0]))
            limit = ROUNDING[dtype] ** (1 / max(2, 1 + k / 2)) * scale
            rows.append(_agreement(name, *triple, scale, limit))
        return Verification(engine, dtype, int(points.flat[0].shape[0]), tuple(rows))


def _agreement(
    name: str, found: list, exact: list, disturbed: list, scale: float, limit: float
) -> Agreement:
    def largest(ones: list, others: list) -> np.ndarray:
        """Returns the largest absolute difference for each sample."""
        parts = [
            np.abs(a - b).reshape(len(a), -1).max(axis=1) for a, b in zip(ones, others)
        ]
        return np.max(parts, axis=0)

    difference, error = largest(found, exact), largest(disturbed, exact)
    worst = int(np.argmax(difference + error))
    return Agreement(
        name, float(scale), float(difference.max()), float(error.max()), float(limit), worst
    )


def _flat(entries: tuple) -> list[list[np.ndarray]]:
    """Returns the arrays of each entry, in float64."""
    return [
        [np.asarray(tf.cast(tensor, "float64")) for tensor in keras.tree.flatten(entry)]
        for entry in entries
    ]
