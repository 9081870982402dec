"""How the gallery runs a script of examples/: its picture, its seconds, its notebook."""

import shutil
import tempfile
import time
from pathlib import Path

import keras
import matplotlib.pyplot as plt
from sphinx_gallery import scrapers

_CLOCK = time.process_time
_FOLDER = tempfile.TemporaryDirectory()
PICTURE = Path(_FOLDER.name) / "figure.png"
NOTEBOOK = """# As in a terminal: the arguments of the script. This one asks for its picture.
import sys

sys.argv[1:] = ["--figure", "figure.png"]"""


def arguments(gallery_conf, script_vars) -> list[str]:
    """Returns the arguments of a script: all know this one, but for tutorials, which have none."""
    return ["--figure", str(PICTURE)]


def fresh(gallery_conf, name) -> None:
    """Nothing is left of the script before: the seconds, names and figures are a script's own."""
    start = _CLOCK()
    time.process_time = lambda: _CLOCK() - start
    keras.utils.clear_session()
    plt.close("all")


class Figures:
    """Shows the file that a script has written, else what it has drawn by pyplot."""

    def __repr__(self) -> str:
        return "Figures()"  # by which Sphinx sees that nothing has changed

    def __call__(self, block, block_vars, gallery_conf) -> str:
        if not PICTURE.exists():
            return scrapers.matplotlib_scraper(block, block_vars, gallery_conf)
        path = next(block_vars["image_path_iterator"])
        shutil.move(PICTURE, path)
        plt.close("all")  # which the file shows
        return scrapers.figure_rst([path], gallery_conf["src_dir"])
