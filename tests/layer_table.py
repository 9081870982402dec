"""All layers of the package, read from its tables, with arguments for tests."""

import inspect

import keras

from keras_smooth import layers

ALL = [getattr(layers, name) for name in layers.__all__]
OWN_ARGUMENTS = ("order", "sharpness")
# Values of required arguments.
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
# Values other than the default, for arguments where none can be derived from the default.
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
# Keras refuses the first together with `crop_to_aspect_ratio`, and our BatchNormalization
# refuses the others.
_KEPT_AT_DEFAULT = ("pad_to_aspect_ratio", "renorm", "synchronized")
_OBJECTS = {
    "initializer": lambda number: keras.initializers.Constant(number / 100),
    "regularizer": lambda number: keras.regularizers.L2(number / 100),
    "constraint": lambda number: keras.constraints.MaxNorm(number),
}


def stock_of(kind: type) -> type:
    """Returns the layer of Keras that a layer of the package replaces."""
    return kind.__base__


def parameters(kind: type) -> list[inspect.Parameter]:
    return list(inspect.signature(kind).parameters.values())


def required(kind: type) -> dict:
    """Returns values of the arguments that have no default."""
    return {
        parameter.name: _REQUIRED[parameter.name]
        for parameter in parameters(kind)
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }


def make_layer(kind: type, **arguments) -> keras.layers.Layer:
    return kind(**{**required(kind), **arguments})


def unusual(kind: type) -> dict:
    """Returns a value of each positional argument, most of them not the default."""
    positional = [p for p in parameters(kind) if p.kind is p.POSITIONAL_OR_KEYWORD]
    return {
        parameter.name: _unusual(parameter, i) for i, parameter in enumerate(positional, 1)
    }


def _unusual(parameter: inspect.Parameter, number: int):
    name, default = parameter.name, parameter.default
    if name.rpartition("_")[2] in _OBJECTS:
        return _OBJECTS[name.rpartition("_")[2]](number)
    if name in {**_REQUIRED, **_UNUSUAL}:
        return {**_REQUIRED, **_UNUSUAL}[name]
    if name == "interpolation":
        return "nearest" if default == "bilinear" else "bilinear"
    if isinstance(default, bool) and name not in _KEPT_AT_DEFAULT:
        return not default
    return default / 2 if isinstance(default, float) else default
