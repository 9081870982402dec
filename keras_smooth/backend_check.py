"""One clear sentence where the package cannot work: another backend, or Keras 2."""

import os

_REMEDY = (
    'Set the environment variable KERAS_BACKEND to "tensorflow" (or unset it) '
    "before Keras is imported."
)


def _require_tensorflow(backend: str) -> None:
    if backend != "tensorflow":
        raise ImportError(
            "keras_smooth needs Keras on the TensorFlow backend, but the backend "
            f"is {backend!r}. {_REMEDY}"
        )


# Asked of the environment first: with a backend that is not installed, importing
# Keras itself would fail before there is anything to ask.
_require_tensorflow(os.environ.get("KERAS_BACKEND") or "tensorflow")

import keras  # noqa: E402

if int(keras.__version__.split(".")[0]) < 3:
    raise ImportError(
        f"keras_smooth needs Keras 3, but Keras {keras.__version__} is installed. "
        'Upgrade with: pip install --upgrade "keras>=3"'
    )

_require_tensorflow(keras.config.backend())
