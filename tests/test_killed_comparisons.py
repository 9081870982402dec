"""Comparisons that are killed, damaged, or two at a time; see killed_comparisons.py."""

import os

import pytest
from scripts import printed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forks here")


def counted(job, number):
    return printed("killed_comparisons.py", job, number)


SHORT = pytest.param(6, marks=pytest.mark.slow)
LONG = pytest.param(200, marks=pytest.mark.study)


@pytest.mark.parametrize("number", [SHORT, LONG])
def test_kills_lose_nothing_and_mix_nothing(number):
    found = counted("kills", number)
    assert found["kills"] >= number and found["met"] > 0
    assert found["complete"] == found["comparisons"] > 0
    assert found["tracebacks"] == found["lost"] == found["wrong"] == 0
    assert found["leftovers"] == 0
    # Workers look for their parent once a second; the rest is for a loaded machine.
    assert found["slowest_end_in_seconds"] < 30


@pytest.mark.parametrize(
    "number",
    [pytest.param(50, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.study)],
)
def test_damaged_files_are_refused_or_of_no_effect(number):
    found = counted("damages", number)
    # The last runs of the journal are made again where it is cut, as by a kill.
    assert found["refused"] + found["of no effect"] + found["made again"] == number
    assert found["altered"] == 0 and found["refused"] > number / 2


@pytest.mark.parametrize(
    "number",
    [pytest.param(2, marks=pytest.mark.slow), pytest.param(50, marks=pytest.mark.study)],
)
def test_two_commands_in_one_directory(number):
    found = counted("pairs", number)
    assert found["one worked"] == found["complete"] == number
    assert found["told so"] + found["told late"] == number
    assert found["tracebacks"] == found["wrong"] == 0
