"""Audits of many layers of a kind: what one shows of the others, and what it does not."""

import keras
import numpy as np
import pytest
from audit_words import cause, mode_cause
from keras import ops

import keras_smooth

L = keras.layers


@keras.saving.register_keras_serializable("alike")
class Gate(L.Layer):
    """Affine; a class that is said to be smooth, with an attribute that no config has."""

    open = True

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.scale if self.open else ops.stop_gradient(x) * self.scale


keras_smooth.register_smoothness(Gate, np.inf)


@keras.saving.register_keras_serializable("alike")
class Block(L.Layer):
    """Two normalizations in a row, as in a transformer: the slope at equal inputs is 1e12."""

    def __init__(self, exact=False, told=True, **kwargs):
        super().__init__(**kwargs)
        self.exact, self.told = exact, told
        # What is not told computes in Keras' default dtype.
        dtype = self.dtype_policy if told else None
        kind = (keras_smooth.layers if exact else L).LayerNormalization
        self.parts = [
            part
            for activation in (None, "gelu")
            for part in (
                L.Dense(6, activation, dtype=dtype),
                kind(epsilon=1e-12, dtype=dtype),
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
        return {**super().get_config(), "exact": self.exact, "told": self.told}


def _audited(*layers, size=6, order=2, x=None, change=lambda model: None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((size,)), *layers])
    change(model)
    return keras_smooth.audit(model, x, order=order)


def _spoil(model):
    model.layers[1].kernel.assign(np.full(model.layers[1].kernel.shape, np.nan))


def _shut(model):
    model.layers[1].open = False


def test_layers_of_a_kind_and_of_other_sizes_are_right():
    found = _audited(L.Dense(4), L.Dense(9), L.Dense(5, "tanh"), L.Dense(7, "tanh"))
    assert found.ok and len(found.rows) == 4


def test_a_fault_in_the_code_of_a_kind_is_one_where_axes_have_size_1_and_signals_are_weak():
    image = keras.Sequential(
        [keras.Input((4, 4, 2)), L.BatchNormalization(), L.AveragePooling2D(4),
         L.Rescaling(1e-9), L.BatchNormalization()]
    )  # fmt: skip
    rows = [r for r in keras_smooth.audit(image).rows if r.layer == "BatchNormalization"]
    found = [(row.inference, mode_cause(row, "training"), row.order) for row in rows]
    assert found == [("proven", "wrong", 2)] * 2


OTHERS = {
    "weights that are not finite": ([L.Dense, L.Dense], _spoil),
    "an attribute outside the config": ([lambda n: Gate()] * 2, _shut),
    "an activation": ([L.Dense, lambda n: L.Dense(n, "relu")], lambda model: None),
    "a dtype": ([L.Dense, lambda n: L.Dense(n, dtype="bfloat16")], lambda model: None),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_first_of_a_kind_does_not_stand_for_another_that(name):
    makers, change = OTHERS[name]
    found = _audited(*(make(6) for make in makers), change=change)
    assert found.rows[0].verdict == "proven" and found.rows[1].verdict != "proven"


EQUAL = {"none": None, "equal numbers": np.ones((4, 6), "float32")}


@pytest.mark.parametrize("x", EQUAL.values(), ids=EQUAL)
@pytest.mark.parametrize("exact", [False, True])
def test_a_normalization_is_no_fault_at_order_1_where_its_inputs_are_equal(exact, x):
    kind = (keras_smooth.layers if exact else L).LayerNormalization
    assert _audited(kind(epsilon=1e-12), order=1, x=x).ok
    second = _audited(kind(epsilon=1e-12), x=x).rows[0]
    assert (cause(second), second.order) == (("ok", 0) if exact else ("wrong", 2))
    assert second.remedy == ("" if exact else "keras_smooth.layers.LayerNormalization")


@pytest.mark.parametrize("told", [True, False])
def test_what_climbs_within_rounding_is_steep_and_no_jump(told):
    # Differences do not settle there, and say so.
    assert _audited(Block(told=told), order=1).outcome != "faulty"
    assert _audited(Block(exact=True, told=told)).outcome != "faulty"


def test_the_remedy_of_a_layer_of_layers_names_the_one_at_fault():
    row = _audited(Block()).rows[0]
    assert (cause(row), row.order) == ("wrong", 2)
    assert "keras_smooth.layers.LayerNormalization in the place of its" in row.remedy


JUMPS = {
    "sign": lambda x: x + ops.sign(x - 0.3),
    "fast": lambda x: ops.sin(x) + 1e-3 * ops.floor(x + 0.71),
    "kink": lambda x: ops.sin(x) + 1e-3 * ops.abs(x - 0.3),
}


@pytest.mark.parametrize("name", JUMPS)
def test_a_jump_is_one_however_closely_it_is_looked_at(name):
    assert _audited(L.Dense(3, JUMPS[name])).rows[0].cause == "rough"
