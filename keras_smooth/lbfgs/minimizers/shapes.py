"""Types of tensors with their shapes, which a test checks in every call.

Within one call, a name stands for one number: n is the number of weights, and `rows` the number of
rows of the matrix of pairs.
"""

from typing import Annotated, TypeAlias

import tensorflow as tf

Scalar: TypeAlias = Annotated[tf.Tensor, ""]
Vector: TypeAlias = Annotated[tf.Tensor, "n"]
# Step length, value and slope of one point of a line search.
Trial: TypeAlias = Annotated[tf.Tensor, "3"]
Rows: TypeAlias = Annotated[tf.Tensor, "rows n"]
# One number for each row.
RowNumbers: TypeAlias = Annotated[tf.Tensor, "rows"]
