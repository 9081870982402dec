"""The notebook of the comparison has the code of its script, has outputs, and runs."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "examples" / "tutorials"
CELLS = json.loads((TUTORIALS / "comparison.ipynb").read_text())["cells"]


def outputs(cells):
    return [
        output
        for cell in cells
        if cell["cell_type"] == "code"
        for output in cell["outputs"]
    ]


def source(cell):
    return "".join(cell["source"])


def test_notebook_has_the_code_of_the_script():
    script = (TUTORIALS / "comparison.py").read_text()
    code = [source(cell) for cell in CELLS if cell["cell_type"] == "code"]
    assert all(block.strip() in script for block in code)
    # The notebook has all code of the script, so that only comments remain.
    for block in code:
        script = script.replace(block.strip(), "")
    _, _, rest = script.partition('"""\n')
    assert all(line.startswith("#") for line in rest.splitlines() if line)


def test_outputs_are_complete_and_small():
    all_outputs = outputs(CELLS)
    kinds = {kind for output in all_outputs for kind in output.get("data", ())}
    assert {"text/html", "image/png"} <= kinds
    assert not [output for output in all_outputs if output["output_type"] == "error"]
    assert "WARNING" not in json.dumps(all_outputs)
    tables = [
        "".join(output["data"]["text/html"])
        for output in all_outputs
        if "data" in output and "text/html" in output["data"]
    ]
    assert len(tables) == 2 and all(
        "softplus" in table or "waved" in table for table in tables
    )
    assert (TUTORIALS / "comparison.ipynb").stat().st_size < 200_000


@pytest.mark.study
def test_notebook_runs(monkeypatch):
    pytest.importorskip("nbclient")
    pytest.importorskip("sphinx_gallery")
    monkeypatch.setattr(sys, "path", [str(ROOT / "tools"), *sys.path])
    import write_notebook

    executed = write_notebook.run(write_notebook.converted())
    assert [source(cell) for cell in executed["cells"]] == list(map(source, CELLS))
    assert len(outputs(executed["cells"])) == len(outputs(CELLS))
