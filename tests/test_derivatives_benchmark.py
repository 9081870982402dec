"""The benchmark of derivatives runs and writes its page and figure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the memory")
def test_short_form_writes_page_and_figure(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "derivatives.py", "--short"]
    command += ["--folder", tmp_path]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([str(part) for part in command], check=True, env=environment)
    page = (tmp_path / "derivatives.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines()]
    rows = [row for row in rows if len(row) == 8 and row[1].startswith("tapes, ")]
    assert len(rows) == 3
    for row in rows:
        assert float(row[6]) > 0
        # float32 has 7 digits: both sides compute the same derivative.
        assert float(row[7].removesuffix(" |")) < 1e-5
    choices = [row for row in map(str.split, page.splitlines()) if len(row) == 13]
    choices = [row for row in choices if row[5] in ("1", "3")]
    assert len(choices) == 4 and all(float(row[9]) > 0 for row in choices)
    assert (tmp_path / "derivatives.png").stat().st_size > 0


def test_page_in_the_docs_is_of_the_full_form():
    page = (ROOT / "docs" / "derivatives.md").read_text()
    for cell in ("| tapes, eager | 1,000,000", "| tapes, XLA | 1,000,000", "float32"):
        assert cell in page
    assert (ROOT / "docs" / "derivatives.png").exists()
