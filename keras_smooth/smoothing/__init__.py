"""smoothen: the same architecture and weights, in smooth and exact layers.

conversion.py          smoothen and output_change
smooth_forms.py        the table of smooth forms of activations and poolings
smooth_operation.py    smooth forms of operations of several numbers, each one operation
lambda_form.py         the replacement of a Lambda layer
straight_pieces.py     piecewise linear functions, recognized from their values
stand_ins.py           smooth functions that replace piecewise ones
"""

from keras_smooth.smoothing.conversion import (
    OutputChange,
    is_replaced,
    output_change,
    smoothen,
)
