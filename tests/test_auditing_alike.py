"""Audits of several layers of one class: when the verdict of one applies to another."""

import keras
import numpy as np
import pytest
from audit_words import cause, mode_cause
from keras import ops

import keras_smooth

L = keras.layers


@keras.saving.register_keras_serializable("alike")
class Gate(L.Layer):
    """An affine layer, registered as smooth, with an attribute that is not in its config."""

    open = True

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.scale if self.open else ops.stop_gradient(x) * self.scale


keras_smooth.register_smoothness(Gate, np.inf)


@keras.saving.register_keras_serializable("alike")
class Block(L.Layer):
    """Two normalizations in a row, as in a transformer: the slope at equal inputs is 1e12."""

    def __init__(self, exact=False, pass_dtype=True, **kwargs):
        super().__init__(**kwargs)
        self.exact, self.pass_dtype = exact, pass_dtype
        # Without a dtype, the parts compute in Keras' default dtype.
        dtype = self.dtype_policy if pass_dtype else None
        layer_class = (keras_smooth.layers if exact else L).LayerNormalization
        self.parts = [
            part
            for activation in (None, "gelu")
            for part in (
                L.Dense(6, activation, dtype=dtype),
                layer_class(epsilon=1e-12, dtype=dtype),
            )
        ]

    def build(self, shape):
        for part in self.parts:
            part.build(shape)

    def call(self, x):
        for dense, norm in (self.parts[:2], self.parts[2:]):
            x = norm(x + dense(x))
        return x

    def get_config(self):
        return {**super().get_config(), "exact": self.exact, "pass_dtype": self.pass_dtype}


def _audit_model(*layers, size=6, order=2, x=None, change=lambda model: None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((size,)), *layers])
    change(model)
    return keras_smooth.audit(model, x, order=order)


def _set_weights_to_nan(model):
    model.layers[1].kernel.assign(np.full(model.layers[1].kernel.shape, np.nan))


def _close_gate(model):
    model.layers[1].open = False


def test_layers_of_one_class_and_different_sizes_have_no_fault():
    report = _audit_model(L.Dense(4), L.Dense(9), L.Dense(5, "tanh"), L.Dense(7, "tanh"))
    assert report.ok and len(report.rows) == 4


def test_fault_of_a_layer_class_holds_for_size_1_and_weak_signals():
    model = keras.Sequential(
        [keras.Input((4, 4, 2)), L.BatchNormalization(), L.AveragePooling2D(4),
         L.Rescaling(1e-9), L.BatchNormalization()]
    )  # fmt: skip
    rows = [
        row for row in keras_smooth.audit(model).rows if row.layer == "BatchNormalization"
    ]
    findings = [(row.inference, mode_cause(row, "training"), row.order) for row in rows]
    assert findings == [("proven", "wrong", 2)] * 2


SECOND_LAYER_DIFFERS = {
    "weights that are not finite": ([L.Dense, L.Dense], _set_weights_to_nan),
    "an attribute outside the config": ([lambda n: Gate()] * 2, _close_gate),
    "an activation": ([L.Dense, lambda n: L.Dense(n, "relu")], lambda model: None),
    "a dtype": ([L.Dense, lambda n: L.Dense(n, dtype="bfloat16")], lambda model: None),
}


@pytest.mark.parametrize("name", SECOND_LAYER_DIFFERS)
def test_verdict_of_a_layer_does_not_apply_to_one_that_differs(name):
    constructors, change = SECOND_LAYER_DIFFERS[name]
    report = _audit_model(*(make(6) for make in constructors), change=change)
    assert report.rows[0].verdict == "proven" and report.rows[1].verdict != "proven"


INPUTS = {"none": None, "equal numbers": np.ones((4, 6), "float32")}


@pytest.mark.parametrize("x", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("exact", [False, True])
def test_layer_normalization_of_equal_inputs_has_no_fault_at_order_1(exact, x):
    layer_class = (keras_smooth.layers if exact else L).LayerNormalization
    assert _audit_model(layer_class(epsilon=1e-12), order=1, x=x).ok
    row = _audit_model(layer_class(epsilon=1e-12), x=x).rows[0]
    assert (cause(row), row.order) == (("ok", 0) if exact else ("wrong", 2))
    assert row.remedy == ("" if exact else "keras_smooth.layers.LayerNormalization")


@pytest.mark.parametrize("pass_dtype", [True, False])
def test_steep_slope_at_equal_inputs_is_no_jump(pass_dtype):
    # Differences do not converge there, and the audit reports that.
    assert _audit_model(Block(pass_dtype=pass_dtype), order=1).outcome != "faulty"
    assert _audit_model(Block(exact=True, pass_dtype=pass_dtype)).outcome != "faulty"


def test_remedy_of_a_composite_layer_names_the_faulty_layer():
    row = _audit_model(Block()).rows[0]
    assert (cause(row), row.order) == ("wrong", 2)
    assert "keras_smooth.layers.LayerNormalization in the place of its" in row.remedy


NOT_SMOOTH_FUNCTIONS = {
    "sign": lambda x: x + ops.sign(x - 0.3),
    "fast": lambda x: ops.sin(x) + 1e-3 * ops.floor(x + 0.71),
    "kink": lambda x: ops.sin(x) + 1e-3 * ops.abs(x - 0.3),
}


@pytest.mark.parametrize("name", NOT_SMOOTH_FUNCTIONS)
def test_jumps_and_weak_kinks_are_rough(name):
    assert (
        _audit_model(L.Dense(3, NOT_SMOOTH_FUNCTIONS[name])).rows[0].cause == "not smooth"
    )
