"""TensorFlow Probability, imported where it is used, or the command that makes it usable."""

import importlib.util
from typing import Any

import tensorflow as tf

# The last TensorFlow Probability of an old TensorFlow; newer ones take the newest.
_LAST_OF = {"2.16": "0.24", "2.17": "0.24"}


def optimizer() -> Any:
    """Returns `tfp.optimizer`.

    Raises:
        ImportError: If it cannot be imported, with the command that installs what fits the
            TensorFlow that is there.
    """
    # Asked first: TensorFlow Probability would print advice that replaces TensorFlow.
    if importlib.util.find_spec("tf_keras") is None:
        raise ImportError(_remedy("tf_keras is not installed"))
    try:
        import tensorflow_probability as tfp

        return tfp.optimizer
    # A tf_keras of another minor version can fail in any way.
    except (ImportError, AttributeError, TypeError) as error:
        raise ImportError(_remedy(str(error))) from error


def _remedy(reason: str) -> str:
    # Without dependencies: tf_keras would bring a TensorFlow beside tensorflow-cpu or another
    # build. All else that these two need is there.
    minor = ".".join(tf.__version__.split(".")[:2])
    packages = [f'"tf_keras~={minor}.0"']
    if minor in _LAST_OF:
        packages.insert(0, f'"tensorflow-probability~={_LAST_OF[minor]}.0"')
    return (
        f"The methods of TensorFlow Probability cannot be used: {reason}. Install what fits "
        f"TensorFlow {tf.__version__} with: pip install --no-deps {' '.join(packages)}"
    )
