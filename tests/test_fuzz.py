"""Random models, compared with plain differences and models in float64: see fuzz.py."""

import types

import fuzz
import numpy as np
import plain_differences
import pytest
from looped import each

# Functions, and the order of their lowest derivative that has a jump between -8 and 8.
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
# One model of each dtype, with and without parts that are not smooth: see `fuzz.record`.
SHORT, STUDY = 4, 2000


@pytest.mark.parametrize("name", KINKS)
def test_kink_returns_the_order_of_the_lowest_jump(name):
    function, expected = KINKS[name]
    assert plain_differences.kink(function, -8.0, 8.0) == expected


def test_derivatives_agree_with_the_exact_ones_within_the_error():
    points = np.array([-2.0, 0.3, 1.7])
    exact = (np.sin(2 * points), 2 * np.cos(2 * points), -4 * np.sin(2 * points))
    for (value, error), expected in zip(
        plain_differences.derivatives(lambda t: np.sin(2 * t), points), exact
    ):
        # Rounding divided by h^2 for the smallest h.
        np.testing.assert_allclose(value, expected, atol=1e-9)
        assert np.all(np.abs(value - expected) <= error + 1e-12)


# At and near kinks of order 1 and 2; if a kink is nearer than any step, all central
# differences agree.
@pytest.mark.parametrize("distance", [0.0, 1e-9, -3e-5, 1e-4])
@pytest.mark.parametrize(
    ("function", "order"),
    [(lambda t: np.maximum(t, 0), 1), (np.abs, 1), (lambda t: np.maximum(t, 0) ** 2, 2)],
)
def test_derivatives_near_a_kink_have_a_large_error(function, order, distance):
    _, error = plain_differences.derivatives(function, np.array([distance]))[order]
    assert error > fuzz.UNSETTLED


def _assert_agreement(seed):
    record = fuzz.record(seed)
    disagreements = [
        outcome for outcome in record["outcomes"] if outcome["result"] == "DISAGREES"
    ]
    assert record["outcomes"] and not disagreements, disagreements


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SHORT))
def test_random_model_agrees(seed):
    _assert_agreement(seed)


@pytest.mark.study
@each("seed", range(SHORT, STUDY))
def test_many_random_models_agree(seed):
    _assert_agreement(seed)


@pytest.mark.parametrize(
    ("verdict", "evidence", "ok"),
    [
        ("ok", "", True),
        ("wrong", "kink", True),
        ("ok", "kink", False),
        ("not smooth", "", False),
    ],
)
def test_verdict_that_contradicts_differences_is_a_disagreement(verdict, evidence, ok):
    findings = frozenset(filter(None, [evidence]))
    measured = fuzz.Evidence(findings, findings)
    row = types.SimpleNamespace(
        inference="proven" if verdict == "ok" else "faulty", cause=verdict
    )
    assert fuzz._verdict("audit", row, measured).ok == ok


@pytest.mark.parametrize(
    ("inference", "findings", "result"),
    [
        ("checked", {"kink"}, fuzz.UNSURE),
        ("checked", {"kink", "wrong"}, "DISAGREES"),
        ("proven", {"kink"}, "DISAGREES"),
    ],
)
def test_kink_of_a_checked_layer_may_not_reach_the_outputs(inference, findings, result):
    row = types.SimpleNamespace(inference=inference, cause="measured")
    evidence = fuzz.Evidence(frozenset(findings), frozenset(findings))
    assert fuzz._verdict("layer", row, evidence).result == result
