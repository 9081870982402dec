"""The rows of the table of operations, by family.

elementwise.py      functions of single numbers, and of two that broadcast
products.py         matrix products, convolutions and what is linear in two inputs
reductions.py       sums, means, products and extremes over axes
shapes.py           what only moves entries to other places
gathers.py          indices and segments
selection.py        pieces: the larger, the clipped, the chosen
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
