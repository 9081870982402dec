"""Figures are displayed: as the value of a notebook cell, and in windows of a script."""

import os
import subprocess
import sys
import types

import pytest

from keras_smooth.presentation import figures

# A backend without a display, which prints the figures that it would show.
BACKEND = """
from matplotlib import _pylab_helpers, backend_bases
from matplotlib.backends import backend_agg

class FigureManager(backend_bases.FigureManagerBase):
    @classmethod
    def pyplot_show(cls, *, block=None):
        print("shown", sorted(_pylab_helpers.Gcf.figs))

class FigureCanvas(backend_agg.FigureCanvasAgg):
    required_interactive_framework = "headless"
    manager_class = FigureManager
"""

# Code after the windows 1 and 2 are made; the output when the script ends.
SCRIPTS = {
    "left alone": ("", "shown [1, 2]"),
    "one is written to a file": ("first.savefig('a.png')", "shown [2]"),
    "both are written": ("first.savefig('a.png'); second.savefig('b.png')", ""),
    "another figure is open": (
        "from matplotlib import pyplot as plt; mine = plt.figure(); figures.shown(2, 2);"
        " assert plt.gcf() is mine; first.savefig('a.png')",
        "shown [2, 4]",
    ),
    "shown before, and closed": (
        "from matplotlib import pyplot as plt; plt.show(); plt.close('all')",
        "shown [1, 2]",
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_windows_are_shown_at_the_end_of_a_script(name, tmp_path):
    code, printed = SCRIPTS[name]
    (tmp_path / "screen.py").write_text(BACKEND)
    # TensorFlow takes seconds to import: only the module `presentation` is imported.
    folder = os.path.dirname(figures.__file__)
    script = f"""
import importlib, sys, types
for name, path in (("keras_smooth", {os.path.dirname(folder)!r}),):
    package = types.ModuleType(name); package.__path__ = [path]; sys.modules[name] = package
from keras_smooth.presentation import figures
assert "matplotlib" not in sys.modules
first, second = figures.shown(2, 2), figures.shown(2, 2)
figures.new(2, 2)
{code}
"""
    process = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "module://screen", "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (process.stdout.strip(), process.stderr) == (printed, "")


def test_show_without_a_display_warns(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    figure = figures.shown(2, 2)
    figure.subplots().plot([1.0, 2.0])
    assert figure.canvas.manager is None and not figure.is_saved
    with pytest.warns(UserWarning, match="no screen for the figure. Write it to a file"):
        figure.show()


def test_figure_is_displayed_in_a_notebook(monkeypatch):
    displayed = []
    notebook = types.SimpleNamespace(
        version_info=(9, 0),
        get_ipython=lambda: types.SimpleNamespace(kernel="a kernel"),
        display=types.SimpleNamespace(display=displayed.append),
    )
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    figure = figures.shown(2, 2)
    assert figure._repr_png_().startswith(b"\x89PNG")
    figure.show()
    assert displayed == [figure]
