"""Applies functions, layers and models to jets, as Taylor mode does."""

import tensorflow as tf

from keras_smooth import operations
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import primal
from keras_smooth.operations.leaves import chosen_leaves


def apply(function, *args, **kwargs):
    """Returns the result of a function of tensors for arguments that may contain jets."""
    values, filled = chosen_leaves(
        (args, kwargs), lambda leaf: isinstance(leaf, Jet) or tf.is_tensor(leaf)
    )

    def of_tensors(*tensors):
        positional, keywords = filled(tensors)
        return function(*positional, **keywords)

    traced = operations.trace(of_tensors, list(map(primal, values)))
    return traced.packed(operations.evaluate(traced.program, [*values, *traced.captured]))
