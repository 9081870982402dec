"""Correct, visible and trainable derivatives for Keras on TensorFlow."""

from keras_smooth import backend_check  # noqa: F401  first: it explains a wrong backend

# isort: split
from keras_smooth import activations, initializers, layers
from keras_smooth.callbacks import DerivativeMonitor
from keras_smooth.comparison import Comparison, compare
from keras_smooth.layers import Activation, Dense
from keras_smooth.lbfgs import OptimizeResult, fit_lbfgs
from keras_smooth.operators import derivatives
from keras_smooth.registry import register_smoothness, smoothness

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Comparison",
    "Dense",
    "DerivativeMonitor",
    "OptimizeResult",
    "activations",
    "compare",
    "derivatives",
    "fit_lbfgs",
    "initializers",
    "layers",
    "register_smoothness",
    "smoothness",
]
