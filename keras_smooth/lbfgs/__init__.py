"""Full-batch L-BFGS for Keras models."""

from keras_smooth.lbfgs.fit import fit_lbfgs
from keras_smooth.lbfgs.result import OptimizeResult, Status

__all__ = ["OptimizeResult", "Status", "fit_lbfgs"]
