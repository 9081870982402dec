"""Random models against plain differences and models made in float64: see fuzz.py."""

import types

import fuzz
import numpy as np
import plain_differences
import pytest
from looped import each

# Of a function, its lowest derivative that jumps within 8 of 0.
KINKS = {
    "sine": (np.sin, None),
    "steep": (lambda t: np.tanh(1e3 * t), None),
    "line": (lambda t: 3 * t + 1, None),
    "on a hill": (lambda t: 1e4 + np.sin(t), None),
    "pole": (lambda t: 1 / (t - 0.2), None),
    "C^2": (lambda t: np.abs(t) ** 3, None),
    "C^1": (lambda t: np.where(t > 0.1, t - 0.1, np.expm1(t - 0.1)), 2),
    "C^0": (lambda t: np.maximum(t - 0.3, 0), 1),
    "beside a curve": (lambda t: np.sin(3 * t) + 0.05 * np.maximum(t - 0.3, 0), 1),
    "stairs": (np.floor, 0),
}
SHORT, STUDY = 8, 2000


@pytest.mark.parametrize("name", KINKS)
def test_plain_kinks(name):
    function, expected = KINKS[name]
    assert plain_differences.kink(function, -8.0, 8.0) == expected


def test_plain_derivatives():
    at = np.array([-2.0, 0.3, 1.7])
    exact = (np.sin(2 * at), 2 * np.cos(2 * at), -4 * np.sin(2 * at))
    for (found, error), true in zip(
        plain_differences.derivatives(lambda t: np.sin(2 * t), at), exact
    ):
        # Rounding over h^2 for the smallest h that was taken.
        np.testing.assert_allclose(found, true, atol=1e-9)
        assert np.all(np.abs(found - true) <= error + 1e-12)


# Just beside kinks of order 1 and 2, nearer than any step: all central differences agree.
@pytest.mark.parametrize("distance", [0.0, 1e-9, -3e-5, 1e-4])
@pytest.mark.parametrize(
    ("function", "order"),
    [(lambda t: np.maximum(t, 0), 1), (np.abs, 1), (lambda t: np.maximum(t, 0) ** 2, 2)],
)
def test_plain_derivatives_at_a_kink_do_not_settle(function, order, distance):
    _, error = plain_differences.derivatives(function, np.array([distance]))[order]
    assert error > fuzz.UNSETTLED


def _assert_agreement(seed):
    found = fuzz.record(seed)
    wrong = [each for each in found["outcomes"] if each["result"] == "DISAGREES"]
    assert found["outcomes"] and not wrong, wrong


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SHORT))
def test_random_model(seed):
    _assert_agreement(seed)


@pytest.mark.study
@each("seed", range(SHORT, STUDY))
def test_random_models(seed):
    _assert_agreement(seed)


@pytest.mark.parametrize(
    ("verdict", "evidence", "ok"),
    [
        ("ok", "", True),
        ("wrong", "kink", True),
        ("ok", "kink", False),
        ("rough", "", False),
    ],
)
def test_a_verdict_that_differences_deny_is_a_disagreement(verdict, evidence, ok):
    says = frozenset(filter(None, [evidence]))
    found = fuzz.Evidence(says, says)
    row = types.SimpleNamespace(
        inference="proven" if verdict == "ok" else "faulty", cause=verdict
    )
    assert fuzz._verdict("audit", row, found).ok == ok


@pytest.mark.parametrize(
    ("inference", "says", "result"),
    [
        ("checked", {"kink"}, fuzz.UNSURE),
        ("checked", {"kink", "wrong"}, "DISAGREES"),
        ("proven", {"kink"}, "DISAGREES"),
    ],
)
def test_a_kink_that_samples_judged_may_not_reach_the_outputs(inference, says, result):
    row = types.SimpleNamespace(inference=inference, cause="measured")
    evidence = fuzz.Evidence(frozenset(says), frozenset(says))
    assert fuzz._verdict("layer", row, evidence).result == result
