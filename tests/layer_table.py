"""The layers of the package as tests want them: read from its tables, with arguments."""

import inspect

import keras

from keras_smooth import layers

ALL = [getattr(layers, name) for name in layers.__all__]
OWN_ARGUMENTS = ("order", "sharpness")
# What layers cannot do without.
_REQUIRED = {
    "activation": "tanh",
    "equation": "ab,bc->ac",
    "factor": 0.25,
    "filters": 4,
    "height": 5,
    "height_factor": 0.3,
    "kernel_size": 3,
    "output_shape": 4,
    "units": 4,
    "width": 3,
    "width_factor": 0.2,
}
# A value that is not the default, where there is no other way to guess one.
_UNUSUAL = {
    "alpha_constraint": "max_norm",
    "axis": 1,
    "bias_axes": "c",
    "data_format": "channels_first",
    "depth_multiplier": 3,
    "fill_mode": "wrap",
    "groups": 2,
    "kernel_size": 2,
    "padding": "same",
    "pool_size": 3,
    "recurrent_activation": "softplus",
    "seed": 5,
    "shared_axes": [1],
    "size": (2, 3),
    "strides": 2,
    "value_range": (0, 1),
    "x_factor": (0.0, 0.1),
    "y_factor": 0.2,
}
# Keras takes these two not together, and our BatchNormalization refuses the others.
_LEFT = ("pad_to_aspect_ratio", "renorm", "synchronized")
_OBJECTS = {
    "initializer": lambda number: keras.initializers.Constant(number / 100),
    "regularizer": lambda number: keras.regularizers.L2(number / 100),
    "constraint": lambda number: keras.constraints.MaxNorm(number),
}


def stock_of(kind: type) -> type:
    """Returns the layer of Keras that one of the package takes the place of."""
    return kind.__base__


def parameters(kind: type) -> list[inspect.Parameter]:
    return list(inspect.signature(kind).parameters.values())


def required(kind: type) -> dict:
    """Returns values of the arguments that have no default."""
    return {
        each.name: _REQUIRED[each.name]
        for each in parameters(kind)
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    }


def made(kind: type, **arguments) -> keras.layers.Layer:
    return kind(**{**required(kind), **arguments})


def unusual(kind: type) -> dict:
    """Returns a value of each positional argument, most of them not the default."""
    positional = [p for p in parameters(kind) if p.kind is p.POSITIONAL_OR_KEYWORD]
    return {each.name: _unusual(each, i) for i, each in enumerate(positional, 1)}


def _unusual(parameter: inspect.Parameter, number: int):
    name, default = parameter.name, parameter.default
    if name.rpartition("_")[2] in _OBJECTS:
        return _OBJECTS[name.rpartition("_")[2]](number)
    if name in {**_REQUIRED, **_UNUSUAL}:
        return {**_REQUIRED, **_UNUSUAL}[name]
    if name == "interpolation":
        return "nearest" if default == "bilinear" else "bilinear"
    if isinstance(default, bool) and name not in _LEFT:
        return not default
    return default / 2 if isinstance(default, float) else default
