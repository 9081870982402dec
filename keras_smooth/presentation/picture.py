"""Figures that are shown below a cell of a notebook, or in a window of a script.

Only this module imports matplotlib at the top. It is imported when a figure is made.
"""

import atexit
import io
import sys
import threading
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_smooth.presentation.notebook import ipython
from keras_smooth.presentation.warn import warn

_OPTIONS: dict[str, Any] = {"layout": "constrained", "dpi": 120}


class Picture(Figure):
    """A figure that a notebook shows as the value of a cell, with or without pyplot."""

    # Whether the figure was written to a file, and needs no window.
    is_saved = False

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        super().savefig(file, format="png")
        return file.getvalue()

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Like `matplotlib.figure.Figure.savefig`; afterwards the figure opens no window."""
        self.is_saved = True
        super().savefig(*args, **kwargs)

    def show(self, warn_if_hidden: bool = True) -> None:
        """Shows the figure: in a notebook at once, otherwise in its window."""
        if module := ipython():
            module.display.display(self)
        elif self.canvas.manager is not None:
            super().show(warn_if_hidden)
        elif warn_if_hidden:
            warn("There is no screen for the figure. Write it to a file with `savefig`.")


def hidden(width: float, height: float) -> Picture:
    """Returns an empty figure that belongs to no window."""
    figure = Picture(figsize=(width, height), **_OPTIONS)
    FigureCanvasAgg(figure)
    return figure


def shown(width: float, height: float) -> Picture:
    """Returns an empty figure, with a window of pyplot if there is a screen.

    The window opens when the script ends, as if its last line were `pyplot.show()`, or earlier by
    that function or `Picture.show`. No window opens if the figure was written to a file.
    """
    if ipython() or threading.current_thread() is not threading.main_thread():
        return hidden(width, height)
    try:
        from matplotlib import pyplot

        current = pyplot.gcf().number if pyplot.get_fignums() else None
        figure = pyplot.figure(FigureClass=Picture, figsize=(width, height), **_OPTIONS)
        # Do not change the current figure of pyplot.
        if current is not None:
            pyplot.figure(current)
        if figure.canvas.required_interactive_framework is None:
            pyplot.close(figure)
            return hidden(width, height)
        if hasattr(sys, "ps1"):
            figure.show()
        else:
            # The function is registered once for all figures.
            atexit.unregister(_open_windows)
            atexit.register(_open_windows)
        return figure
    # The screen in DISPLAY may not exist. Then the figure has no window.
    except Exception:
        return hidden(width, height)


def _open_windows() -> None:
    """Opens the windows of figures that are neither closed nor saved when the process ends."""
    from matplotlib import pyplot

    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        if not isinstance(figure, Picture) or figure.is_saved:
            pyplot.close(number)
    if pyplot.get_fignums():
        pyplot.show()
