"""Every argument of every public function raises a clear error for wrong values."""

import inspect

import argument_matrix
import pytest

import keras_smooth

# Results of functions, and enums, which users do not construct.
RESULTS = {
    "Audit",
    "Comparison",
    "OptimizeResult",
    "OutputChange",
    "Plan",
    "Status",
    "Verification",
}
# Arguments of Keras' Dense, which Keras checks.
OF_KERAS = {"Dense": set(inspect.signature(keras_smooth.Dense).parameters) - {"order"}}


@pytest.mark.parametrize("name", argument_matrix.CALLS)
def test_wrong_values_raise_an_error_that_names_the_argument(name):
    faults = [str(outcome) for outcome in argument_matrix.outcomes(name) if outcome.fault]
    assert not faults, "\n".join(faults)


def test_matrix_has_every_argument_of_every_public_function():
    tested = {}
    for name, call in argument_matrix.CALLS.items():
        tested.setdefault(name.split(" ")[0], set()).update(call.allowed)
    for name in keras_smooth.__all__:
        public = getattr(keras_smooth, name)
        if not callable(public) or name in RESULTS:
            continue
        parameters = inspect.signature(public).parameters.values()
        names = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        assert not names - tested.get(name, set()) - OF_KERAS.get(name, set()), name


def test_accepted_wrong_value_is_a_fault():
    call = argument_matrix.Call(lambda x: x, lambda: {"x": 1}, {"x": ""})
    assert argument_matrix._fault(call, "x", "None") == "accepted"


@pytest.mark.parametrize(
    ("error", "fault"),
    [(KeyError("x"), "KeyError"), (ValueError("x"), "raised in"), (TypeError("z"), "z")],
)
def test_other_error_than_one_of_the_package_is_a_fault(error, fault):
    def function(x):
        raise error

    call = argument_matrix.Call(function, lambda: {"x": 1}, {"x": ""})
    assert fault in argument_matrix._fault(call, "x", "None")
