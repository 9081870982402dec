"""Minimizers of a function of one vector, which are compiled once and can stop and continue.

methods.py                 the table of methods; `Minimizer`, through which all are used
quasi_newton.py            self-scaled quasi-Newton methods, with one evaluation in their loop
line_search.py             their line search: the unit step first, then cubic interpolation
inverse_hessian.py         inverse Hessian of L-BFGS, in compact form from pairs
pairs.py                   the pairs (steps and changes of the gradient) as one matrix
dense_inverse_hessian.py   inverse Hessian of BFGS and Broyden, a symmetric matrix in blocks
updates.py                 the update formulas of BFGS and Broyden; curvature along a step
gauss_newton.py            damped Gauss-Newton for mean squares
damped_system.py           its linear equation, solved accurately also for small dampings
tfp.py                     minimizers of TensorFlow Probability
shapes.py                  types of tensors with their shapes, for annotations
"""

from keras_smooth.lbfgs.minimizers.gauss_newton import LeastSquares
from keras_smooth.lbfgs.minimizers.methods import (
    MINIMIZERS,
    Minimizer,
    check_method,
    num_pairs_of,
)
