"""audit: which layers of a model lose or falsify derivatives."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_smooth.auditing import precision, rows, used
from keras_smooth.auditing.findings import Finding, Findings, worst
from keras_smooth.auditing.measured_call import MeasuredCall
from keras_smooth.auditing.measurement import Measurement
from keras_smooth.auditing.report import MODES, Audit, LayerAudit
from keras_smooth.auditing.verdicts import VERDICTS
from keras_smooth.checks import function, shown, whole_number
from keras_smooth.models import agreement, calls, copies, sample_inputs

# Entries of configs that say how many numbers come out, and nothing of how.
SIZES = ("filters", "units")


def audit(
    model: keras.layers.Layer,
    x: Any = None,
    *,
    order: int = 2,
    progress: Callable[[str, int, int], None] | None = None,
) -> Audit:
    """Measures which layers of a model lose or falsify derivatives.

    Every layer is copied in float64 with its functions and all its state; the copy must
    give the same outputs. A layer or model without a copy, as one without a `get_config`,
    is measured itself, in its own dtype and to its precision. Its derivatives from nested
    tapes are held against central differences of the derivative one order lower: around
    the values that reach the layer in each of its calls, at zero input and at ties; in
    training mode as well where that differs. With x it is asked about the values that x
    leads to: a kink or a pole elsewhere, as that of a pair energy where two atoms coincide,
    is a note. The model itself stays as it is.

    Args:
        model: A model (Sequential, Functional or subclassed) or one layer.
        x: Inputs from which the values come that reach each layer; the first few samples
            are used. None draws them at random from the shapes of the inputs. A
            subclassed model needs x; one that is neither built nor has a `get_config` is
            built on it.
        order: How many derivatives with respect to the inputs will be taken, 1 or more.
        progress: Called before each layer is measured as `progress(path, number, total)`:
            its name after those of the models it is in, its place from 1 on, and how many
            there are.

    Returns:
        An `Audit` with `ok`, `inference`, `training`, `rows`, `model` and `to_json()`. It
        prints as a table.

    Raises:
        TypeError: If `model` is no layer, `order` is not an integer or x is no dense array.
        ValueError: If `order` is below 1, or x is needed and not given.

    Example:

    >>> import keras, keras_smooth
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh")])
    >>> keras_smooth.audit(model).ok
    True
    >>> model.add(keras.layers.LayerNormalization())
    >>> keras_smooth.audit(model).rows[-1].verdict
    'wrong'
    """
    order = whole_number("`order`", order, 1)
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"`model` must be a Keras model or layer, received {shown(model)}.")
    if progress is not None:
        function("`progress`", progress, "path", "number", "total")
    with calls.preserved_random_state():
        model, args = sample_inputs.prepared(model, x, copies.fresh_copy)
        parts, recorded = used.parts(model, args)
        auditor = _Auditor(order, _dtype(recorded[id(model)]), nearby=x is not None)
        found_rows: list[LayerAudit] = []
        in_doubt = False
        for number, (path, part) in enumerate(parts, 1):
            if progress is not None:
                progress(path, number, len(parts))
            found = auditor.findings(part, recorded[id(part)])
            in_doubt |= any(each.in_doubt for each in found.values())
            found_rows.append(rows.of_part(path, part, found, order))
        whole = rows.of_model(
            model, recorded[id(model)], parts, found_rows, order, auditor.measured, in_doubt
        )
        return Audit(order, tuple(found_rows), rows.without_mixing(whole, model, args))


class _Auditor:
    """Measures the parts of one model.

    Args:
        order: The highest order.
        dtype: Of the outputs of the model.
        nearby: Whether it is asked about the values of the calls alone.
    """

    def __init__(self, order: int, dtype: str, nearby: bool) -> None:
        self.order = order
        self.dtype = dtype
        self.nearby = nearby
        self._calls = {}
        self._of_kind = {}
        self._alikes = set()

    def findings(self, part: keras.Operation, recorded: list[calls.Call]) -> Findings:
        """Returns the findings of a part by mode, the worst of all its calls."""
        if not recorded:
            return {"inference": Finding("unknown", reason="it is not called")}
        found = [self._first(part, recorded[0])]
        # Other calls differ in their values only.
        found += [self.measured(part, call, around=True) for call in recorded[1:]]
        return _merged(found)

    def _first(self, part: keras.Operation, call: calls.Call) -> Findings:
        """Returns the findings of a call.

        Elsewhere than at the values that reach them, layers without weights of one kind
        are the same, and known ones with weights much alike.
        """
        known, has_weights = rows.is_known(part), bool(getattr(part, "weights", None))
        if has_weights:
            key = calls.kind(part, SIZES) if known else None
        else:
            key = _likeness(part, call) if known else calls.key(part, call)
        if key is None:
            return self.measured(part, call)
        if key not in self._of_kind:
            self._of_kind[key] = self.measured(part, call)
            self._alikes.add(_likeness(part, call))
            return self._of_kind[key]
        if has_weights:
            return self._alike(part, call, self._of_kind[key])
        if known:
            return self._of_kind[key]
        return _merged([self._of_kind[key], self.measured(part, call, around=True)])

    def _alike(self, part: keras.Operation, call: calls.Call, first: Findings) -> Findings:
        """Returns the findings of a part, given those of the first of its kind.

        A derivative that TensorFlow gets wrong in the code of one is wrong in that of all.
        That of an affine function does not depend on where it is, and only the first one of
        arrays that are alike is measured.
        """
        alike = _likeness(part, call)
        everywhere = (
            alike in self._alikes
            and calls.is_told_by_config(type(part))
            and self._is_as_precise(part, call)
            and _is_finite(call.output)
        )
        inherited = {
            mode: dataclasses.replace(found, precision=())
            for mode, found in first.items()
            if VERDICTS[found.verdict].in_code
            or everywhere
            and found.verdict == "ok"
            and found.affine
        }
        modes = tuple(mode for mode in first if mode not in inherited)
        if not modes:
            return inherited
        curved = not any(found.affine for found in first.values())
        found = self.measured(part, call, around=True, modes=modes, curved=curved)
        if all(each.verdict == "ok" for each in found.values()):
            self._alikes.add(alike)
        return found | inherited

    def _is_as_precise(self, part: keras.Operation, call: calls.Call) -> bool:
        """Returns whether the dtype of a part loses nothing that the model has."""
        rounding = agreement.epsilon(part, call.output)
        return bool(rounding <= np.finfo(self.dtype).eps)

    def measured(
        self, part: keras.Operation, call: calls.Call, modes: tuple = MODES, **how: bool
    ) -> Findings:
        """Returns the findings of a call by mode.

        Args:
            part: The layer, model or operation.
            call: A call of it.
            modes: The modes to look at.
            **how: `around`, `briefly`, `end_to_end` and `curved` of its `Measurement`.
        """
        if _has_nothing(part, call):
            steps = any(map(calls.is_float, keras.tree.flatten(call.arguments())))
            return {"inference": Finding("ok", reason=rows.NOTHING, in_doubt=steps)}
        try:
            measured = self._call(part, call)
        except copies.CannotCopy as error:
            return {"inference": Finding("unknown", reason=str(error))}
        how |= {"known": rows.is_known(part), "nearby": self.nearby}
        found = {
            mode: Measurement(measured, mode == "training", self.order, **how).finding()
            for mode in measured.modes
            if mode in modes
        }
        alike = how["known"] and how.get("around") and self.dtype == "float32"
        errors = precision.errors(part, call, measured, self.order, alike)
        return {
            mode: precision.judged(each, errors, part, self.dtype)
            for mode, each in found.items()
        }

    def _call(self, part: keras.Operation, call: calls.Call) -> MeasuredCall:
        """Returns a call of a copy, or of the part itself where it has none.

        Raises:
            CannotCopy: If derivatives of the part itself cannot be held against differences.
        """
        try:
            return self._copied(part, call)
        except copies.CannotCopy as error:
            return MeasuredCall.itself(part, call, error)

    def _copied(self, part: keras.Operation, call: calls.Call) -> MeasuredCall:
        key = calls.key(part, call)
        if key in self._calls:
            self._calls[key].load(part, call)
            return self._calls[key]
        made = MeasuredCall.of(part, call)
        if key is not None:
            self._calls[key] = made
        return made


def _likeness(part: keras.Operation, call: calls.Call) -> str | None:
    """Returns what known parts share that do the same to arrays of other sizes."""
    kind = calls.kind(part, SIZES)
    return None if kind is None else f"{kind} {calls.outline(call)}"


def _is_finite(output: Any) -> bool:
    leaves = filter(calls.is_float, keras.tree.flatten(output))
    return all(np.isfinite(np.asarray(leaf, "float64")).all() for leaf in leaves)


def _has_nothing(part: keras.Operation, call: calls.Call) -> bool:
    """Returns whether there is nothing to differentiate, as in a comparison.

    A layer with whole numbers as outputs jumps; what an operation is for, the model tells.
    """
    ends = [call.arguments()]
    ends += [] if isinstance(part, keras.layers.Layer) else [call.output]
    return not all(any(map(calls.is_float, keras.tree.flatten(end))) for end in ends)


def _dtype(recorded: list[calls.Call]) -> str:
    """Returns the widest dtype of a model's outputs."""
    leaves = [leaf for call in recorded for leaf in keras.tree.flatten(call.output)]
    names = {leaf.dtype.name for leaf in leaves if calls.is_float(leaf)}
    return "float64" if "float64" in names else "float32"


def _merged(found: list[Findings]) -> Findings:
    modes = [mode for mode in MODES if any(mode in each for each in found)]
    return {
        mode: worst([each.get(mode, each["inference"]) for each in found]) for mode in modes
    }
