"""Runs the tutorial of the comparison as a notebook and writes it with its outputs.

    pip install '.[docs]' && python tools/write_notebook.py

Building the site makes the notebooks of the other scripts, whose pages have the outputs.
"""

from pathlib import Path

import nbclient
import nbformat
from sphinx_gallery import gen_gallery, notebook, py_source_parser

SCRIPT = Path(__file__).parents[1] / "examples" / "tutorials" / "comparison.py"
NOTEBOOK = SCRIPT.with_suffix(".ipynb")
# The default kernel of a notebook, in which figures are shown inline.
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def converted() -> nbformat.NotebookNode:
    """Returns the script as a notebook without outputs."""
    _, blocks = py_source_parser.split_code_and_text_blocks(str(SCRIPT))
    content = notebook.jupyter_notebook(
        blocks, dict(gen_gallery.DEFAULT_GALLERY_CONF), str(SCRIPT.parent)
    )
    for number, cell in enumerate(content["cells"]):
        cell["id"] = f"cell-{number}"
        cell["source"] = "".join(cell["source"])
    content["metadata"] = {"kernelspec": KERNEL}
    return nbformat.from_dict({**content, "nbformat_minor": 5})


def run(content: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Returns the notebook with the outputs of its cells, but not those to stderr."""
    nbclient.NotebookClient(content, timeout=600).execute()
    for cell in content["cells"]:
        cell["metadata"] = {}
        if cell["cell_type"] == "code":
            cell["outputs"] = [o for o in cell["outputs"] if o.get("name") != "stderr"]
    content["metadata"] = {"kernelspec": KERNEL}
    return content


if __name__ == "__main__":
    nbformat.write(run(converted()), NOTEBOOK)
