"""Minimizers of a function of one vector, compiled once, that can stop and go on.

minimizer.py               what is compiled once and advanced; the only way in
methods.py                 the table of methods, and what a method is
quasi_newton.py            the loop of our two: one evaluation a turn
line_search.py             its line search: unit step first, then cubic steps
curvature.py               whether a step tells a curvature
limited_memory.py          self-scaled L-BFGS
inverse_hessian.py         its memory: steps and changes of the gradient in compact form
shapes.py                  tensors by their shapes, for annotations
pairs.py                   the steps and changes: one matrix, multiplied as far as it is filled
dense_memory.py            self-scaled BFGS and Broyden
updates.py                 how these two differ
dense_inverse_hessian.py   their memory: a symmetric matrix in blocks
gauss_newton.py            damped Gauss-Newton, of sums of squares
tfp_lbfgs.py               L-BFGS of TensorFlow Probability
tfp_bfgs.py                dense BFGS of TensorFlow Probability
tfp.py                     its import, or the command that makes it work
"""

from keras_smooth.lbfgs.minimizers.gauss_newton import LeastSquares
from keras_smooth.lbfgs.minimizers.methods import (
    MINIMIZERS,
    check_method,
    needs_residuals,
    num_pairs_of,
)
from keras_smooth.lbfgs.minimizers.minimizer import Minimizer
