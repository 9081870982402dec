"""The notebook of the comparison is its script, has outputs, and runs."""

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


def test_code_is_that_of_the_script():
    script = (TUTORIALS / "comparison.py").read_text()
    code = [source(cell) for cell in CELLS if cell["cell_type"] == "code"]
    assert all(block.strip() in script for block in code)
    # All of it, but for text and the lines between: what is left is comment.
    for block in code:
        script = script.replace(block.strip(), "")
    _, _, rest = script.partition('"""\n')
    assert all(line.startswith("#") for line in rest.splitlines() if line)


def test_outputs_are_there_and_small():
    found = outputs(CELLS)
    kinds = {kind for output in found for kind in output.get("data", ())}
    assert {"text/html", "image/png"} <= kinds
    assert not [output for output in found if output["output_type"] == "error"]
    assert "WARNING" not in json.dumps(found)
    tables = [
        "".join(one["data"]["text/html"])
        for one in found
        if "data" in one and "text/html" in one["data"]
    ]
    assert len(tables) == 2 and all("softplus" in t or "waved" in t for t in tables)
    assert (TUTORIALS / "comparison.ipynb").stat().st_size < 200_000


@pytest.mark.study
def test_runs(monkeypatch):
    pytest.importorskip("nbclient")
    pytest.importorskip("sphinx_gallery")
    monkeypatch.setattr(sys, "path", [str(ROOT / "tools"), *sys.path])
    import write_notebook

    done = write_notebook.run(write_notebook.converted())
    assert [source(cell) for cell in done["cells"]] == list(map(source, CELLS))
    assert len(outputs(done["cells"])) == len(outputs(CELLS))
