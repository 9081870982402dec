"""The benchmark over versions runs, and its records can be read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECORDS = [
    json.loads(row)
    for row in (ROOT / "benchmarks" / "track.jsonl").read_text().splitlines()
]
KEYS = {"version", "commit", "date", "tensorflow", "keras", "machine", "cpus", "ratios"}


@pytest.mark.slow
def test_short_form_writes_a_record_and_a_figure(tmp_path):
    record, figure = tmp_path / "track.jsonl", tmp_path / "track.png"
    command = [sys.executable, ROOT / "benchmarks" / "track.py", "--short"]
    command += ["--record", record, "--figure", figure]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([str(part) for part in command], check=True, env=environment)
    (row,) = map(json.loads, record.read_text().splitlines())
    assert row.keys() == KEYS
    # This version supports all measurements.
    assert all(ratio > 0 for ratio in row["ratios"].values()), row
    assert row["ratios"].keys() == RECORDS[-1]["ratios"].keys()
    assert figure.stat().st_size > 0


def test_committed_records_are_of_several_versions():
    assert len({row["version"] for row in RECORDS}) > 1
    assert all(row.keys() == KEYS for row in RECORDS)
    assert (ROOT / "docs" / "images" / "track.png").exists()
