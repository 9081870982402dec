"""Comparisons that are killed, damaged, or run twice at a time: killed_comparisons.py."""

import functools
import itertools
import os

import pytest
from scripts import printed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forks here")


# Short jobs, and studies. One process has all of a column, since it imports TensorFlow first.
NUMBERS = {
    "short": {"kills": 6, "damages": 50, "pairs": 2},
    "long": {"kills": 200, "damages": 200, "pairs": 50},
}
lengths = pytest.mark.parametrize(
    "length",
    [
        pytest.param("short", marks=pytest.mark.slow),
        pytest.param("long", marks=pytest.mark.study),
    ],
)


@functools.cache
def counts_of(length):
    jobs = NUMBERS[length].items()
    return printed("killed_comparisons.py", *itertools.chain.from_iterable(jobs))


@lengths
def test_killed_comparisons_lose_and_mix_no_runs(length):
    counts = counts_of(length)["kills"]
    assert counts["kills"] >= NUMBERS[length]["kills"] and counts["met"] > 0
    assert counts["complete"] == counts["comparisons"] > 0
    assert counts["tracebacks"] == counts["lost"] == counts["wrong"] == 0
    assert counts["leftovers"] == 0
    # Workers check their parent once a second; the rest is for a loaded machine.
    assert counts["slowest_end_in_seconds"] < 30


@lengths
def test_damaged_files_raise_or_have_no_effect(length):
    counts, number = counts_of(length)["damages"], NUMBERS[length]["damages"]
    # If the journal is cut, as by a kill, its last runs are made again.
    assert counts["refused"] + counts["of no effect"] + counts["made again"] == number
    assert counts["altered"] == 0 and counts["refused"] > number / 2


@lengths
def test_second_command_in_one_directory_is_rejected(length):
    counts, number = counts_of(length)["pairs"], NUMBERS[length]["pairs"]
    assert counts["one worked"] == counts["complete"] == number
    assert counts["told so"] + counts["told late"] == number
    assert counts["tracebacks"] == counts["wrong"] == 0
