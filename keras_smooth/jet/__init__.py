"""Truncated Taylor arithmetic: how a function carries derivatives along curves.

entries.py          sums and products of the entries of a series, in which None is 0
arithmetic.py       Jet: sums, products, linear maps, quotients
pieces.py           piecewise linear functions; selection
shapes.py           annotations of tensors with their shapes
direction_basis.py  directions as linear combinations of fewer curves
composition.py      elementwise functions by their derivatives at the points; straight lines
functions.py        elementwise functions as series solutions of differential equations
special.py          functions whose formulas are 0 / 0 at a point
reductions.py       functions along the axes of a sample, such as softmax

A jet is a point and the derivatives of curves through it; entry k is the k-th derivative,
not divided by k!. The functions map jets to jets. With them, a rule for
`keras_smooth.register_jet_rule` is often one line, which you can test with `line`:

>>> from keras_smooth import jet
>>> def rule(x):  # the swish x sigmoid(x)
...     return x * jet.sigmoid(x)
>>> y = rule(jet.line([0.0], order=2))
>>> float(y.primal[0]), [float(y.entry(k)[0, 0]) for k in (1, 2)]
(0.0, [0.5, 0.5])
"""

from keras_smooth.jet.arithmetic import (
    Jet,
    bilinear,
    folded_bilinear,
    joint,
    linear,
    reciprocal,
)
from keras_smooth.jet.composition import composed, elementwise, line
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
from keras_smooth.jet.pieces import piecewise_linear, straight, where
from keras_smooth.jet.reductions import cumprod, log_softmax, logsumexp, prod, softmax
from keras_smooth.jet.special import i0, sinc

__all__ = [
    "Jet",
    "bilinear",
    "composed",
    "cos",
    "cumprod",
    "elementwise",
    "erf",
    "exp",
    "expm1",
    "folded_bilinear",
    "i0",
    "joint",
    "line",
    "linear",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "piecewise_linear",
    "power",
    "primitive",
    "prod",
    "reciprocal",
    "sigmoid",
    "sin",
    "sinc",
    "softmax",
    "softplus",
    "solve",
    "sqrt",
    "square",
    "tanh",
    "where",
]
