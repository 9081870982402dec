"""Verified derivatives: those of an engine, compared with finite differences of the model."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.differentiation import differences, kinks, tasks
from keras_smooth.differentiation.agreements import Agreement, Measured, agree
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.float64_evaluation import in_float64
from keras_smooth.differentiation.points import random_directions
from keras_smooth.models import calls
from keras_smooth.models.agreement import EPSILON, least_precise_dtype
from keras_smooth.models.tracing import PYTHON_COMPUTES
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.tables import ShownAsTable, Table, Tone
from keras_smooth.presentation.warn import advice


@dataclasses.dataclass(frozen=True, repr=False)
class Verification(ShownAsTable):
    """The result of `verify=True`: derivatives compared with values of the model.

    The comparison uses no automatic differentiation, but polynomials through values of the
    model near each point, at several distances, in float64 if the model can compute in it.
    Every sample and output has its own limit, from the size of that derivative. One that is too
    small for the differences to resolve, as where units are saturated, may be wrong by 1e-9 of
    the largest one of all samples. A derivative is not verified if y is so large that its
    rounding leaves less than two digits; the table then says so. If the next lower derivative jumps on the lines from each point to the
    next, which derivatives at the points do not show, a warning is given. `print` and notebooks
    show a table. The tuples that `derivatives`, `directional` and `partials` return, and the
    tensors that the other operators return, have this object as the attribute `verification`.
    A tensor that you compute from them, such as `-forces`, does not have it.

    Args:
        engine: The engine that computed the derivatives, `"jet"` or `"tape"`.
        dtype: The dtype in which the model computes.
        num_points: The number of points, all of which were compared.
        agreements: The `Agreement` of each derivative.

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
        return {agreement.name: agreement for agreement in self.agreements}[name]

    def __repr__(self) -> str:
        rows = sorted(self.agreements, key=lambda row: not row.ok)
        words = (
            f"{row.name} "
            + (f"to {row.bound:.1e}" if row.ok else _verdict(row, self.dtype)[0])
            for row in rows
        )
        return f"<Verification: {self._title()}: {', '.join(words)}>"

    def _title(self) -> str:
        return (
            f"engine {self.engine!r} against values of the model, "
            f"{counted(self.num_points, 'point')}, {self.dtype}"
        )

    def _table(self) -> Table:
        return Table(
            title=self._title().capitalize(),
            head=("derivative", "largest", "bound", "limit", "verdict"),
            rows=[
                (
                    row.name,
                    *(f"{size:.1e}" for size in (row.scale, row.bound, row.limit)),
                    _verdict(row, self.dtype)[0],
                )
                for row in self.agreements
            ],
            tones=dict(_verdict(row, self.dtype) for row in self.agreements),
        )


def _verdict(row: Agreement, dtype: str) -> tuple[str, Tone]:
    """Returns the verdict on a derivative in words, and its tone."""
    at_point = f"point {row.worst}"
    if row.ok:
        return "agrees", Tone.GOOD
    if not row.enough_digits:
        remedy = _REMEDIES[dtype == "float64"]
        return f"not enough digits in {dtype}: {remedy} ({at_point})", Tone.UNSURE
    if is_wrong(row):
        return f"differs by {row.difference:.1e} at {at_point}", Tone.BAD
    return f"the differences have an error of {row.error:.1e} at {at_point}", Tone.UNSURE


# The advice for dtypes below float64, and for float64.
_REMEDIES = (
    "use float64",
    "y varies too little compared with its size; subtract a constant from y",
)


class VerifiedDerivatives(tuple):
    """A tuple of derivatives with the `Verification` that they passed.

    Attributes:
        verification: The `Verification`.
    """

    verification: Verification


def with_verification(values: Any, verified: tuple) -> Any:
    """Returns tensors, with the `verification` of the derivatives from which they were computed."""
    if isinstance(verified, VerifiedDerivatives):
        for tensor in keras.tree.flatten(values):
            tensor.verification = verified.verification
    return values


def with_verification_of(derivatives: tuple, values: Iterable) -> tuple:
    """Returns a tuple of values, with the `verification` of the derivatives if they have one."""
    if not isinstance(derivatives, VerifiedDerivatives):
        return tuple(values)
    verified = VerifiedDerivatives(values)
    verified.verification = derivatives.verification
    return verified


def compared(evaluation: Evaluation, values: tuple) -> Verification:
    """Returns the comparison of derivatives with values of the model.

    Args:
        evaluation: The evaluation.
        values: The derivatives that it returned as its result.
    """
    return _Reference(evaluation).compared(evaluation.engine, values)


def verified_result(evaluation: Evaluation) -> VerifiedDerivatives:
    """Returns the derivatives of an evaluation if they agree with values of the model.

    With the engine "auto", the other engine is tried if the faster one does not agree.

    Raises:
        ValueError: If they do not agree; the message has the table.
    """
    if evaluation.training:
        raise ValueError(
            "verify=True compares values of the model in inference mode. Do not combine it "
            "with training=True."
        )
    if not tf.executing_eagerly():
        raise ValueError(
            "verify=True works outside of tf.function only. Verify some points eagerly."
        )
    verified = calls.without_side_effects(_result_that_agrees, evaluation)
    _advise_on_kinks(evaluation.model, evaluation)
    evaluation.cause_side_effects()
    return verified


def check_without_trace(evaluation: Evaluation) -> None:
    """Compares derivatives of a function that TensorFlow cannot trace with differences.

    Nested tapes have computed them, and without a trace it is not known whether they are right.

    Raises:
        TypeError: If they differ and Python computes with values, as NumPy does.
    """
    if evaluation.traces.exist(evaluation.points):
        return
    if not evaluation.traces.hides_values(evaluation.points):
        _advise_on_tapes(evaluation.model, evaluation)
    elif words := _wrong_on_a_line(evaluation):
        raise TypeError(f"{words}. {PYTHON_COMPUTES}")


@advice
def _advise_on_tapes(model: Callable, evaluation: Evaluation) -> str | None:
    """Returns a warning of derivatives by nested tapes that differ from differences."""
    if not tf.executing_eagerly():
        return None
    words = _wrong_on_a_line(evaluation)
    return words and (
        f"{words}, compared with differences of the model. TensorFlow's own derivative of an "
        "operation is wrong, or a point is at a kink. To use engine='jet', which does without "
        "TensorFlow's derivatives, change the model so that TensorFlow can trace it."
    )


def _wrong_on_a_line(evaluation: Evaluation) -> str | None:
    """Returns text about the first wrong derivative along one random direction, or None."""
    # From the whole range of points, since Python may compute with values in one branch only.
    num_points = int(evaluation.points.flat[0].shape[0])
    chosen = np.unique(
        np.linspace(0, num_points - 1, min(num_points, _MAX_COMPARED)).astype(int)
    )
    points = evaluation.points.at([tf.gather(x, chosen) for x in evaluation.points.flat])
    directions = random_directions(points, _SEED)
    along = Evaluation(
        tasks.directional(evaluation.order), evaluation.model, points, "tape",
        directions=directions,
    )  # fmt: skip
    verification = calls.without_side_effects(lambda: compared(along, along.result()))
    words = (
        f"{evaluation.traces.name}: the derivative of order {order} is wrong by "
        f"{row.difference:.1e}"
        for order, row in enumerate(verification.agreements)
        if is_wrong(row)
    )
    return next(words, None)


@advice
def _advise_on_kinks(model: Callable, evaluation: Evaluation) -> str | None:
    """Returns a warning of kinks between the points, which a comparison at points does not show."""
    traces, jump_order = evaluation.traces, evaluation.order - 1
    points = evaluation.points.at(
        [x[: evaluation.batch_size] for x in evaluation.points.flat]
    )
    kinds = kinks.kinds_not_smooth(traces, points, jump_order)
    if not kinds or not kinks.lie_between(traces, points, jump_order):
        return None
    jumps = f"the derivative of order {jump_order} jumps" if jump_order else "y jumps"
    return (
        f"{getattr(model, 'name', 'The function')} contains operations with kinks "
        f"({', '.join(kinds)}), and {jumps} between the points. At the points the derivatives "
        f"of order {evaluation.order} agree with differences of the model, but they do not show "
        "these jumps. keras_smooth.audit names the layers where kinks matter, "
        "keras_smooth.smoothen replaces them."
    )


def is_wrong(row: Agreement) -> bool:
    """Returns whether a derivative differs by more than the error of the differences."""
    return not row.ok and row.enough_digits and row.difference > 3 * row.error


def _result_that_agrees(evaluation: Evaluation) -> VerifiedDerivatives:
    """Returns the result of the first engine that agrees with values of the model."""
    reference: _Reference | None = None
    verifications, errors = [], []
    for candidate in evaluation.candidates():
        try:
            # The reference must begin with the same state of recurrent layers.
            values = calls.without_side_effects(candidate.result)
        # The other engine may compute a derivative that this one loses.
        except ValueError as error:
            errors.append(error)
            continue
        reference = reference or _Reference(evaluation)
        verified = VerifiedDerivatives(values)
        verified.verification = reference.compared(candidate.engine, values)
        if verified.verification.ok:
            return verified
        verifications.append(verified.verification)
    if not verifications:
        raise errors[0]
    raise ValueError(
        f"The derivatives could not be verified.\n{verifications[0]}\nkeras_smooth.audit(model, x=x) "
        "finds the layers of a model that are at fault. At a kink there is no derivative; if "
        "rounding errors are too large, compute in float64."
    )


# The largest number of points that are compared if there is no trace.
_MAX_COMPARED = 256
# Random signs of errors in sums over directions: their seed, and the number of draws.
_SEED, _DRAWS = 0, 16


class _Reference:
    """The derivatives of an evaluation from differences of the model, with their errors.

    The model is evaluated in float64 if it can compute in it. Then the engine runs in float64 as
    well, and the differences are compared with its numbers in both dtypes.
    """

    def __init__(self, evaluation: Evaluation):
        self.evaluation = evaluation
        self.finer = in_float64(evaluation)
        self.measured = _measured_derivatives(self.finer or evaluation)

    def compared(self, engine: str, values: tuple) -> Verification:
        """Returns the comparison of the derivatives of an engine with the differences."""
        finer = self._in_float64(engine)
        floats = filter(calls.is_float, keras.tree.flatten(values))
        dtype = next((y.dtype.name for y in floats), "float64")
        entries, rows = self.evaluation.task.entries, map(calls.float64_rows, values)
        agreements = [
            agree(*entry, row, measured, EPSILON[dtype], fine)
            for entry, row, measured, fine in zip(
                entries, rows, self.measured, finer, strict=True
            )
        ]
        model = self.evaluation.model
        if self.finer is not None and isinstance(model, keras.Operation):
            # A float64 output may come from coarser layers.
            dtype = least_precise_dtype(model, values)
        num_points = int(self.evaluation.points.flat[0].shape[0])
        return Verification(engine, dtype, num_points, tuple(agreements))

    def _in_float64(self, engine: str) -> list:
        """Returns the derivatives of the engine in float64, or None for each if there are none."""
        if self.finer is not None:
            try:
                finer = dataclasses.replace(self.finer, engine=engine)
                return list(map(calls.float64_rows, finer.result()))
            # A custom gradient can raise any error in float64.
            except Exception:
                self.finer, self.measured = None, _measured_derivatives(self.evaluation)
        return [None] * len(self.measured)


def _measured_derivatives(evaluation: Evaluation) -> list[Measured]:
    """Returns the derivatives of an evaluation by differences of the model."""
    rng, num_fields = np.random.default_rng(_SEED), len(differences.SPREAD)
    propagate = functools.partial(differences.propagate, evaluation.model, rng, _DRAWS)
    measured = []
    for entry in map(calls.float64_rows, evaluation.along_lines(propagate)):
        rows = entry.reshape(1 + num_fields * _DRAWS, -1, entry.shape[1])
        spread = np.abs(rows[1:]).reshape(num_fields, _DRAWS, *rows.shape[1:])
        largest = spread.max(axis=1)
        measured.append(Measured(rows[0], *np.where(np.isnan(largest), np.inf, largest)))
    return measured
