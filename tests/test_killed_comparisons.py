"""Comparisons that are killed, damaged, or run twice at a time: killed_comparisons.py."""

import os

import pytest
from scripts import printed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forks here")


def counts_of(job, number):
    return printed("killed_comparisons.py", job, number)


SHORT = pytest.param(6, marks=pytest.mark.slow)
LONG = pytest.param(200, marks=pytest.mark.study)


@pytest.mark.parametrize("number", [SHORT, LONG])
def test_killed_comparisons_lose_and_mix_no_runs(number):
    counts = counts_of("kills", number)
    assert counts["kills"] >= number and counts["met"] > 0
    assert counts["complete"] == counts["comparisons"] > 0
    assert counts["tracebacks"] == counts["lost"] == counts["wrong"] == 0
    assert counts["leftovers"] == 0
    # Workers check their parent once a second; the rest is for a loaded machine.
    assert counts["slowest_end_in_seconds"] < 30


@pytest.mark.parametrize(
    "number",
    [pytest.param(50, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.study)],
)
def test_damaged_files_raise_or_have_no_effect(number):
    counts = counts_of("damages", number)
    # If the journal is cut, as by a kill, its last runs are made again.
    assert counts["refused"] + counts["of no effect"] + counts["made again"] == number
    assert counts["altered"] == 0 and counts["refused"] > number / 2


@pytest.mark.parametrize(
    "number",
    [pytest.param(2, marks=pytest.mark.slow), pytest.param(50, marks=pytest.mark.study)],
)
def test_second_command_in_one_directory_is_rejected(number):
    counts = counts_of("pairs", number)
    assert counts["one worked"] == counts["complete"] == number
    assert counts["told so"] + counts["told late"] == number
    assert counts["tracebacks"] == counts["wrong"] == 0
