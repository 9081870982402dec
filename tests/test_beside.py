"""The benchmark that compares the costs of calls with those of an older version."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_benchmark_compares_two_checkouts(tmp_path):
    """Both are this checkout here."""
    command = [sys.executable, ROOT / "benchmarks" / "beside.py", ROOT, "--short"]
    command += ["--rows", "order 2, eager, 100 points", "grouped convolution"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    header, _, *rows = done.stdout.splitlines()
    assert header == "| call | this version, ms | older, ms | ratio |"
    names = [row.split(" | ")[0] for row in rows]
    assert names == [
        "| import keras_smooth",
        "| order 2, eager, 100 points, first call",
        "| order 2, eager, 100 points",
        "| audit, grouped convolution, first call",
        "| audit, grouped convolution",
    ]
    for row in rows:
        new, old, ratio = (
            float(cell.strip(" |").replace(",", "")) for cell in row.split(" | ")[1:]
        )
        # Times are rounded to 0.1 ms, ratios to 0.01.
        assert abs(ratio - new / old) <= 0.01 + 0.1 * (new + old) / old**2
