"""Configs that Keras writes and its own classes refuse."""

from typing import Any

import keras


def accepted(kind: type, config: dict) -> dict:
    """Returns a config as its class takes it.

    RandomShear makes of a factor f the range (-f, f), which its config has and its
    constructor refuses.

    Args:
        kind: Class of a layer.
        config: What `get_config` of such a layer has returned.
    """
    if not issubclass(kind, keras.layers.RandomShear):
        return config
    keys = {"x_factor", "y_factor"} & config.keys()
    return {**config, **{key: _one_number(config[key]) for key in keys}}


def _one_number(factor: Any) -> bool:
    if isinstance(factor, (tuple, list)) and len(factor) == 2 and factor[0] == -factor[1]:
        return factor[1]
    return factor
