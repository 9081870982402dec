"""The rows of the table of operations, by family.

functions.py        elementwise functions of one tensor
arithmetic.py       elementwise functions of two tensors
identities.py       operations that return their inputs, also with a declared or stopped gradient
products.py         matrix products, convolutions and other bilinear operations; Fourier transforms
reductions.py       sums, means, products and extremes over axes
shapes.py           reshapes, slices, paddings and other rearrangements of entries
gathers.py          gathers, scatters and segments
selection.py        piecewise operations: maxima, clipping, selection
images.py           pooling and resizing
linear_algebra.py   inverses, factors, determinants
control_flow.py     branches, loops, calls and lists of tensors
sample_axes.py      a column of all rows: the axis of the samples after an operation
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
)
