"""Models in files, read in Keras' safe mode, and the cause if one cannot be read."""

import re
import zipfile
from pathlib import Path

import keras

from keras_smooth.auditing import claimed_sizes
from keras_smooth.checks import regular_file

# A member of every file that Keras writes, and the first bytes of an HDF5 file.
_CONFIG = "config.json"
_HDF5 = b"\x89HDF"


def read_model(file: str) -> keras.Model:
    """Returns the model in a file, without its optimizer.

    Raises:
        ValueError: If it cannot be read; the message is one sentence with the cause.
    """
    path = regular_file(file)
    _check_archive(path)
    try:
        with claimed_sizes.limited_to(claimed_sizes.bytes_of_weights(path)):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        claimed_sizes.check_tensors(model)
        return model
    # A damaged file can raise any error.
    except Exception as error:
        raise ValueError(f"Cannot read {file}: {_cause(error)}.") from error


def _check_archive(path: Path) -> None:
    """Raises an error unless a file has the suffix and the config of Keras' model files."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as content:
            start = content.read(len(_HDF5))
        kind = "an HDF5 file" if start == _HDF5 else "no zip archive" if start else "empty"
        raise ValueError(
            f"{path} is {kind}; expected a model that was saved by model.save('FILE.keras')."
        )
    with zipfile.ZipFile(path) as archive:
        if _CONFIG not in archive.namelist():
            raise ValueError(
                f"{path} is a zip archive without {_CONFIG}: it holds no model of Keras."
            )
    if path.suffix != ".keras":
        raise ValueError(
            f"{path} must have a name that ends in .keras for Keras to read it."
        )


def _cause(error: Exception) -> str:
    """Returns in one clause the cause of an error of Keras, whose message may have long configs."""
    words = str(error)
    if missing := re.search(r"Could not locate (class|function) '([^']*)'", words):
        return (
            f"it has the {missing[1]} {missing[2]!r} of its author; name the module that "
            "registers it: --import MODULE"
        )
    if "lambda" in words and "safe_mode" in words:
        return (
            "it holds the code of a lambda, which is not run; if you trust its author, load "
            "it in Python with safe_mode=False and call keras_smooth.audit(model)"
        )
    if "activation function identifier: {'value':" in words:
        return (
            "it has a lambda as an activation, which Keras reads from no file; save it with a "
            "function under @keras.saving.register_keras_serializable()"
        )
    inner = words.rpartition("Exception encountered: ")[2].strip() or type(error).__name__
    return inner.splitlines()[0].rstrip(".")
