"""Tensors by their shapes, which a test compares with those of calls.

In one call a word stands for one number, and one with a star for any number of axes.
"""

from typing import Annotated, TypeAlias

import tensorflow as tf

Primal: TypeAlias = Annotated[tf.Tensor, "batch *shape"]
# Where all samples agree, the batch is 1.
OfCurves: TypeAlias = Annotated[tf.Tensor, "_ #batch *shape"]
AlongDirections: TypeAlias = Annotated[tf.Tensor, "directions batch *shape"]
AlongCurves: TypeAlias = Annotated[tf.Tensor, "curves batch *shape"]
Combined: TypeAlias = Annotated[tf.Tensor, "rows batch *shape"]
Sums: TypeAlias = Annotated[tf.Tensor, "sums batch *shape"]
OneSum: TypeAlias = Annotated[tf.Tensor, "1 batch *shape"]
DirectionMatrix: TypeAlias = Annotated[tf.Tensor, "directions curves"]
Combination: TypeAlias = Annotated[tf.Tensor, "rows curves"]
