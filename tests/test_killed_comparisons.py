"""Comparisons that are killed, damaged, or two at a time; see killed_comparisons.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forks here")


def counted(job, number):
    script = Path(__file__).parent / "killed_comparisons.py"
    done = subprocess.run(
        [sys.executable, script, job, str(number)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return json.loads(done.stdout.splitlines()[-1])


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
    assert found["refused"] + found["of no effect"] == number
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
