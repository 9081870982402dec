"""Whether the package raised an error itself, or a function that it called did."""

import traceback
from pathlib import Path

import keras_smooth

PACKAGE = str(Path(keras_smooth.__file__).parent)


def origin(error: Exception) -> Path:
    """Returns the file that raised an error."""
    return Path(traceback.extract_tb(error.__traceback__)[-1].filename)


def is_ours(error: Exception) -> bool:
    return str(origin(error)).startswith(PACKAGE)
