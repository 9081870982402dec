"""Rules of operations of keras.ops in the graph of a Functional model."""

from collections.abc import Callable

import keras

from keras_smooth import jet
from keras_smooth.differentiation.rules.linear import itself
from keras_smooth.differentiation.rules.table import activate, operation_rows
from keras_smooth.jet import Jet


def _elementwise(function: Callable) -> Callable:
    return lambda operation, x: jet.elementwise(function, x)


def _activation(function: Callable) -> Callable:
    return lambda operation, x: activate(function, x)


def _power(operation, x, exponent):
    if not isinstance(exponent, (int, float)) or exponent != int(exponent):
        return NotImplemented
    return jet.power(x, int(exponent))


def _same_rank(product: Callable) -> Callable:
    """The rule of what broadcasts: numbers, or arguments of the same rank."""

    def rule(operation, x, y):
        ranks = {len(z.shape) for z in (x, y) if hasattr(z, "shape")}
        return NotImplemented if len(ranks) > 1 else product(x, y)

    return rule


def _matmul(operation, x, y):
    if not isinstance(y, Jet) and len(y.shape) == 2:
        return jet.linear(lambda v: operation(v, y), x)
    return NotImplemented


def _keeps_batch(axes: Callable) -> Callable:
    """The rule of a linear operation, unless it touches the batch axis."""

    def rule(operation, x, *args, **kwargs):
        touched = axes(operation)
        touched = touched if isinstance(touched, (list, tuple)) else [touched]
        rank = keras.tree.flatten(x)[0].shape.rank
        if None in touched or 0 in [axis % rank for axis in touched]:
            return NotImplemented
        return itself(operation, x, *args, **kwargs)

    return rule


def _transpose(operation, x):
    axes = operation.axes
    return NotImplemented if axes is None or axes[0] != 0 else itself(operation, x)


def _get_item(operation, x, key):
    first = key[0] if isinstance(key, tuple) else key
    whole = first == slice(None) or first is Ellipsis
    return itself(operation, x, key) if whole else NotImplemented


def _reshape(operation, x):
    return itself(operation, x) if operation.newshape[0] == -1 else NotImplemented


_ELEMENTWISE = {
    "Cos": jet.cos,
    "Erf": jet.erf,
    "Exp": jet.exp,
    "Expm1": jet.expm1,
    "Log": jet.log,
    "Negative": lambda x: -x,
    "Reciprocal": jet.reciprocal,
    "Sigmoid": jet.sigmoid,
    "Sin": jet.sin,
    "Softplus": jet.softplus,
    "Sqrt": jet.sqrt,
    "Square": jet.square,
    "Tanh": jet.tanh,
}

operation_rows({name: _elementwise(function) for name, function in _ELEMENTWISE.items()})
operation_rows(
    {
        "Add": _same_rank(lambda x, y: x + y),
        "Concatenate": _keeps_batch(lambda operation: operation.axis),
        "Divide": _same_rank(lambda x, y: x / y),
        "GetItem": _get_item,
        "Matmul": _matmul,
        "Mean": _keeps_batch(lambda operation: operation.axis),
        "Multiply": _same_rank(lambda x, y: x * y),
        "Power": _power,
        "Reshape": _reshape,
        "Silu": _activation(keras.activations.silu),
        "Subtract": _same_rank(lambda x, y: x - y),
        "Sum": _keeps_batch(lambda operation: operation.axis),
        "Transpose": _transpose,
        "TrueDivide": _same_rank(lambda x, y: x / y),
    }
)
