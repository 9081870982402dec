"""Minimizers of a function of one vector, compiled once, that can stop and go on.

methods.py                 what is compiled once and advanced, the only way in; the table of methods
quasi_newton.py            self-scaled methods: a loop with one evaluation a turn
line_search.py             its line search: unit step first, then cubic steps
inverse_hessian.py         the memory of L-BFGS: steps and changes of the gradient in compact form
shapes.py                  tensors by their shapes, for annotations
pairs.py                   the steps and changes: one matrix, multiplied as far as it is filled
dense_inverse_hessian.py   the memory of BFGS and Broyden: a symmetric matrix in blocks
updates.py                 whether a step tells a curvature; how these two differ
gauss_newton.py            damped Gauss-Newton, of sums of squares
tfp.py                     those of TensorFlow Probability
"""

from keras_smooth.lbfgs.minimizers.gauss_newton import LeastSquares
from keras_smooth.lbfgs.minimizers.methods import (
    MINIMIZERS,
    Minimizer,
    check_method,
    num_pairs_of,
)
