"""Every argument of every public function refuses what cannot be meant, in a sentence."""

import inspect

import argument_matrix
import pytest

import keras_smooth

# What functions return, and enums: nobody makes them with arguments.
RESULTS = {
    "Audit",
    "Comparison",
    "OptimizeResult",
    "OutputChange",
    "Plan",
    "Status",
    "Verification",
}
# Arguments that Keras' own Dense takes and checks.
OF_KERAS = {"Dense": set(inspect.signature(keras_smooth.Dense).parameters) - {"order"}}


@pytest.mark.parametrize("name", argument_matrix.CALLS)
def test_wrong_values_are_refused_by_a_sentence_that_names_the_argument(name):
    faults = [str(one) for one in argument_matrix.outcomes(name) if one.fault]
    assert not faults, "\n".join(faults)


def test_the_table_has_every_argument_of_every_public_function():
    tried = {}
    for name, call in argument_matrix.CALLS.items():
        tried.setdefault(name.split(" ")[0], set()).update(call.allowed)
    for name in keras_smooth.__all__:
        public = getattr(keras_smooth, name)
        if not callable(public) or name in RESULTS:
            continue
        parameters = inspect.signature(public).parameters.values()
        named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        assert not named - tried.get(name, set()) - OF_KERAS.get(name, set()), name


def test_a_value_that_is_accepted_is_a_fault():
    call = argument_matrix.Call(lambda x: x, lambda: {"x": 1}, {"x": ""})
    assert argument_matrix._fault(call, "x", "None") == "accepted"


@pytest.mark.parametrize(
    ("error", "fault"),
    [(KeyError("x"), "KeyError"), (ValueError("x"), "raised in"), (TypeError("z"), "z")],
)
def test_an_error_that_is_no_sentence_of_the_package_is_a_fault(error, fault):
    def function(x):
        raise error

    call = argument_matrix.Call(function, lambda: {"x": 1}, {"x": ""})
    assert fault in argument_matrix._fault(call, "x", "None")
