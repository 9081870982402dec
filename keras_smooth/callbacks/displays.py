"""Displays of numbers and figures while a model trains: TensorBoard, a notebook.

A display has four functions: `begin()`, `numbers(epoch, errors)`, `figure(epoch, figure)` and
`end()`.
"""

import importlib.util
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.checks import path
from keras_smooth.presentation.notebook import Place, ipython
from keras_smooth.presentation.warn import warn


class TensorBoard:
    """Scalars and figures in a directory of TensorBoard.

    Args:
        log_dir: The directory for `tensorboard --logdir`.
        name: Name of the figure.

    Raises:
        TypeError: If `log_dir` is no path.
        ImportError: If TensorBoard is not installed.
    """

    def __init__(self, log_dir: str | os.PathLike, name: str):
        self._log_dir = os.fspath(path("`log_dir`", log_dir))
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "`log_dir`: TensorBoard is not installed. Install it with: "
                "pip install tensorboard"
            )
        self._name = name
        self._writer: Any = None

    def __getstate__(self) -> dict:
        """Returns the state of a copy, which opens its own file."""
        return {**vars(self), "_writer": None}

    def begin(self) -> None:
        self._writer = tf.summary.create_file_writer(self._log_dir)

    def numbers(self, epoch: int, errors: Mapping[str, float]) -> None:
        with self._writer.as_default(step=epoch):
            for key, error in errors.items():
                tf.summary.scalar(key, error)
            tf.summary.flush()

    def figure(self, epoch: int, figure: Any) -> None:
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())
        with self._writer.as_default(step=epoch):
            tf.summary.image(self._name, pixels[None])
            tf.summary.flush()

    def end(self) -> None:
        self._writer.close()


class Notebook:
    """One figure below a cell of a notebook, which is redrawn in place."""

    def __init__(self) -> None:
        self._place: Place | None = None
        if ipython() is None:
            warn(
                "`live=True`: this is not a notebook, so no figure is shown. "
                "`DerivativeMonitor.plot()` draws it, and `log_dir` is for TensorBoard."
            )

    def __getstate__(self) -> dict:
        """Returns the state of a copy, which shows its own figure."""
        return {"_place": None}

    def begin(self) -> None:
        self._place = None

    def numbers(self, epoch: int, errors: Mapping[str, float]) -> None:
        """Does nothing, since the figure shows the errors."""

    def figure(self, epoch: int, figure: Any) -> None:
        if module := ipython():
            self._place = self._place or Place(module)
            self._place.show(figure)

    def end(self) -> None:
        """Keeps the last figure."""
