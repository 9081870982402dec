"""The rows of the table of operations, by family.

functions.py        functions of single numbers
arithmetic.py       functions of two numbers that broadcast
identities.py       what gives its inputs back, also with another gradient
products.py         matrix products, convolutions and what is linear in two inputs
reductions.py       sums, means, products and extremes over axes
shapes.py           what only moves entries to other places
gathers.py          indices and segments
selection.py        pieces: the larger, the clipped, the chosen
images.py           pooling and resizing
linear_algebra.py   inverses, factors, determinants
spectral.py         Fourier transforms and complex numbers
control_flow.py     branches, loops, calls and lists of tensors
sample_axes.py      a column of all rows: which axis has the samples
"""

from keras_smooth.operations.table import (
    arithmetic,
    control_flow,
    functions,
    gathers,
    identities,
    images,
    linear_algebra,
    products,
    reductions,
    sample_axes,
    selection,
    shapes,
    spectral,
)

__all__ = [
    "arithmetic",
    "control_flow",
    "functions",
    "gathers",
    "identities",
    "images",
    "linear_algebra",
    "products",
    "reductions",
    "sample_axes",
    "selection",
    "shapes",
    "spectral",
]
