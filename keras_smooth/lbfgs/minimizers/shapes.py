"""Tensors by their shapes, which a test compares with those of calls.

In one call a letter stands for one number: n weights, as many rows as the memory of pairs has.
"""

from typing import Annotated, TypeAlias

import tensorflow as tf

Scalar: TypeAlias = Annotated[tf.Tensor, ""]
Vector: TypeAlias = Annotated[tf.Tensor, "n"]
# Step length, value and slope of a point of a line search.
Trial: TypeAlias = Annotated[tf.Tensor, "3"]
Rows: TypeAlias = Annotated[tf.Tensor, "rows n"]
OfRows: TypeAlias = Annotated[tf.Tensor, "rows"]
