"""Minimizers of a function of one vector, compiled once, that can stop and go on.

minimizer.py         the compiled minimizer and the table of methods
limited_memory.py    L-BFGS in compact form, one evaluation a turn
"""

from keras_smooth.lbfgs.minimizers.minimizer import METHODS, Minimizer

__all__ = ["METHODS", "Minimizer"]
