"""Annotations of tensors with their shapes, which a test compares with the tensors of calls.

Within one call, each word is one size, a word with a star any number of axes, and # allows 1.
"""

from typing import Annotated, TypeAlias

import tensorflow as tf

Primal: TypeAlias = Annotated[tf.Tensor, "batch *shape"]
# The batch axis may be 1, if all samples agree.
OfCurves: TypeAlias = Annotated[tf.Tensor, "_ #batch *shape"]
AlongDirections: TypeAlias = Annotated[tf.Tensor, "directions batch *shape"]
AlongCurves: TypeAlias = Annotated[tf.Tensor, "curves batch *shape"]
Combined: TypeAlias = Annotated[tf.Tensor, "rows batch *shape"]
Sums: TypeAlias = Annotated[tf.Tensor, "sums batch *shape"]
OneSum: TypeAlias = Annotated[tf.Tensor, "1 batch *shape"]
DirectionMatrix: TypeAlias = Annotated[tf.Tensor, "directions curves"]
Combination: TypeAlias = Annotated[tf.Tensor, "rows curves"]
