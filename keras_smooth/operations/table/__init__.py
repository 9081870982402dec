"""The rows of the table of operations, by family.

elementwise.py      functions of single numbers, and of two that broadcast
products.py         matrix products, convolutions and other bilinear operations
reductions.py       sums, means, products and extremes over axes
shapes.py           operations that only move entries
gathers.py          indices and segments
selection.py        piecewise operations: maxima, clipping, selection
images.py           pooling and resizing
linear_algebra.py   inverses, factors, determinants
spectral.py         Fourier transforms and complex numbers
control_flow.py     branches, loops, calls and lists of tensors
"""

from keras_smooth.operations.table import (
    control_flow,
    elementwise,
    gathers,
    images,
    linear_algebra,
    products,
    reductions,
    selection,
    shapes,
    spectral,
)

__all__ = [
    "control_flow",
    "elementwise",
    "gathers",
    "images",
    "linear_algebra",
    "products",
    "reductions",
    "selection",
    "shapes",
    "spectral",
]
