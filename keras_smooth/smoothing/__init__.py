"""smoothen: the same architecture and weights, in smooth and exact layers.

conversion.py             smoothen
output_change.py          output_change, the difference between the outputs of two models
smooth_forms.py           the table of smooth forms of activations and poolings
smooth_operation.py       smooth forms of maxima and minima, each of which is one operation
lambda_form.py            the replacement of a Lambda layer
piecewise_linear.py       the pieces of piecewise linear functions, computed from values
smooth_approximations.py  smooth functions that replace piecewise ones
"""

from keras_smooth.smoothing.conversion import is_replaced, smoothen
from keras_smooth.smoothing.output_change import OutputChange, output_change
