"""The IPython notebook in which this process runs, if any."""

import html
import sys
from typing import Any


def ipython() -> Any:
    """Returns the module IPython if a notebook runs this process, else None."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module else None
    return module if hasattr(shell, "kernel") else None


class Place:
    """An output below a cell of a notebook whose content can be replaced.

    Args:
        module: IPython.
    """

    def __init__(self, module: Any) -> None:
        self._display = module.display.display
        self._handle: Any = None

    def show(self, content: Any, **options: Any) -> None:
        """Shows content, in place of the previous one."""
        if self._handle is None:
            self._handle = self._display(content, display_id=True, **options)
        else:
            self._handle.update(content, **options)

    def write(self, text: str) -> None:
        """Shows text, in place of the previous content."""
        page = f'<div style="white-space: pre-wrap">{html.escape(text)}</div>'
        self.show({"text/plain": text, "text/html": page}, raw=True)
