"""Truncated Taylor arithmetic: how a function carries derivatives along curves.

arithmetic.py     Jet: sums, products, linear maps, quotients
frame.py          directions that are made of fewer curves
composition.py    elementwise functions by their derivatives at the points
functions.py      elementwise functions as series solutions of differential equations
reductions.py     functions that mix the entries of a sample, as softmax

A jet is a point and the derivatives of curves through it. Functions take jets to jets; none
of them knows a layer.
"""

from keras_smooth.jet.arithmetic import (
    Entry,
    Jet,
    aligned,
    bilinear,
    constant,
    folded,
    folded_bilinear,
    joint,
    linear,
    reciprocal,
    straight,
    where,
)
from keras_smooth.jet.composition import elementwise
from keras_smooth.jet.functions import (
    cos,
    erf,
    exp,
    expm1,
    log,
    log1p,
    power,
    primitive,
    sigmoid,
    sin,
    softplus,
    solve,
    sqrt,
    square,
    tanh,
)
from keras_smooth.jet.reductions import log_softmax, logsumexp, softmax

__all__ = [
    "Entry",
    "Jet",
    "aligned",
    "bilinear",
    "constant",
    "cos",
    "elementwise",
    "erf",
    "exp",
    "expm1",
    "folded",
    "folded_bilinear",
    "joint",
    "linear",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "power",
    "primitive",
    "reciprocal",
    "sigmoid",
    "sin",
    "softmax",
    "softplus",
    "solve",
    "sqrt",
    "square",
    "straight",
    "tanh",
    "where",
]
