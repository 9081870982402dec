"""Leaves of a structure, such as the tensors in the arguments of a call."""

from collections.abc import Callable, Sequence
from typing import Any

import keras


def chosen_leaves(structure: Any, is_chosen: Callable) -> tuple[list, Callable]:
    """Returns chosen leaves of a structure, and a function that replaces them by others.

    Args:
        structure: Any structure, such as args and kwargs.
        is_chosen: Returns whether a leaf is chosen.
    """
    leaves = keras.tree.flatten(structure)
    chosen = {index: leaf for index, leaf in enumerate(leaves) if is_chosen(leaf)}
    indices = list(chosen)
    # Without the chosen leaves, which may be tensors of a large graph.
    others = [None if index in chosen else leaf for index, leaf in enumerate(leaves)]
    template = keras.tree.pack_sequence_as(structure, [0] * len(leaves))

    def filled(values: Sequence) -> Any:
        new = list(others)
        for index, value in zip(indices, values, strict=True):
            new[index] = value
        return keras.tree.pack_sequence_as(template, new)

    return list(chosen.values()), filled
