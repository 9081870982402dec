"""Displays of errors and figures during training: TensorBoard and notebooks.

Displays are created anew for each fit. A display has three methods: `numbers(epoch, errors)`,
`figure(epoch, figure)` and `end()`.
"""

import functools
import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.checks import boolean, path
from keras_smooth.presentation import figures
from keras_smooth.presentation.notebook import Place, ipython
from keras_smooth.presentation.warn import warn


def display_makers(log_dir: Any, live: Any, name: str) -> list[Callable]:
    """Returns functions without arguments, each of which returns a new display.

    Args:
        log_dir: The directory for `tensorboard --logdir`, or None for no TensorBoard.
        live: Whether a notebook shows the figure.
        name: Name of the figure.

    Raises:
        TypeError: If `log_dir` is not a path, or `live` is neither True nor False.
        ImportError: If TensorBoard or matplotlib is not installed.
    """
    makers: list[Callable] = []
    if log_dir is not None:
        directory = os.fspath(path("`log_dir`", log_dir))
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError("`log_dir` needs TensorBoard: pip install tensorboard")
        makers.append(functools.partial(TensorBoard, directory, name))
    if boolean("`live`", live):
        makers.append(Notebook)
        if ipython() is None:
            warn(
                "`live=True`: this is not a notebook, so no figure is shown. "
                "`DerivativeMonitor.plot()` draws it, and `log_dir` is for TensorBoard."
            )
    if makers:
        figures.require_matplotlib()
    return makers


class TensorBoard:
    """Writes scalars and figures for TensorBoard.

    Args:
        log_dir: The directory.
        name: Name of the figure.
    """

    def __init__(self, log_dir: str, name: str):
        self._name = name
        self._writer: Any = tf.summary.create_file_writer(log_dir)

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
    """Shows one figure below a cell of a notebook, and redraws it in place."""

    _place: Place | None = None

    def numbers(self, epoch: int, errors: Mapping[str, float]) -> None:
        """Does nothing, since the figure shows the errors."""

    def figure(self, epoch: int, figure: Any) -> None:
        if module := ipython():
            self._place = self._place or Place(module)
            self._place.show(figure)

    def end(self) -> None:
        """Keeps the last figure."""
