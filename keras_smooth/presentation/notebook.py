"""The notebook that runs this process, if one does."""

import html
import sys
from typing import Any


def ipython() -> Any:
    """Returns IPython if a notebook runs this process, which has then imported it; else None."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module else None
    return module if hasattr(shell, "kernel") else None


class Line:
    """A line below a cell of a notebook that can be overwritten.

    Args:
        module: IPython.
    """

    def __init__(self, module: Any) -> None:
        self._display = module.display.display
        self._handle: Any = None

    def write(self, text: str) -> None:
        """Replaces the text that is shown."""
        shown = {
            "text/plain": text,
            "text/html": f'<div style="white-space: pre-wrap">{html.escape(text)}</div>',
        }
        if self._handle is None:
            self._handle = self._display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)
