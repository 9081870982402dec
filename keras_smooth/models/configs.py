"""Configs that Keras writes but its classes do not accept."""

from typing import Any

import keras


def accepted(kind: type, config: dict) -> dict:
    """Returns a config that the constructor of the class accepts.

    RandomShear turns a factor f into the range (-f, f). Its config has the range, which its
    constructor refuses.

    Args:
        kind: Class of a layer.
        config: The result of `get_config` of such a layer.
    """
    if not issubclass(kind, keras.layers.RandomShear):
        return config
    keys = {"x_factor", "y_factor"} & config.keys()
    return {**config, **{key: _one_number(config[key]) for key in keys}}


def _one_number(factor: Any) -> bool:
    if isinstance(factor, (tuple, list)) and len(factor) == 2 and factor[0] == -factor[1]:
        return factor[1]
    return factor
