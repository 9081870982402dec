"""Arguments with which an operation can be tried."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Floats:
    """A place for a tensor of floats by which an operation is differentiated.

    Args:
        shape: Of the tensor.
        low: Its numbers are between `low` and `high`.
        high: See `low`.
        symmetric: Whether it is a symmetric matrix with `low` and more on its diagonal,
            which makes it positive definite.
    """

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0
    symmetric: bool = False

    def point(self, seed: int = 0) -> np.ndarray:
        """Returns generic numbers, evenly apart: where pieces meet at a tie, none is near."""
        rng = np.random.default_rng(seed)
        if self.symmetric:
            return self._mirrored(rng) + self.low * np.eye(self.shape[-1])
        size = math.prod(self.shape)
        steps = (rng.permutation(size) + 0.3) / size
        return (self.low + (self.high - self.low) * steps).reshape(self.shape)

    def direction(self, seed: int = 0) -> np.ndarray:
        """Returns a generic direction of numbers between 0.2 and 1 in size."""
        rng = np.random.default_rng(seed + 1)
        if self.symmetric:
            return self._mirrored(rng)
        sizes = rng.uniform(0.2, 1.0, self.shape)
        return np.where(np.arange(sizes.size).reshape(self.shape) % 2, -sizes, sizes)

    def symbol(self) -> keras.KerasTensor:
        """Returns a symbolic tensor."""
        return keras.Input(batch_shape=self.shape, dtype="float64")

    def _mirrored(self, rng: np.random.Generator) -> np.ndarray:
        half = rng.uniform(-0.5, 0.5, self.shape)
        return half + np.swapaxes(half, -1, -2)


@dataclasses.dataclass(frozen=True)
class Sample:
    """Arguments of a call, in which `Floats` stand for tensors."""

    args: tuple
    kwargs: dict

    def places(self) -> list[Floats]:
        """Returns the places of tensors, in the order of the arguments."""
        leaves = keras.tree.flatten((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Floats)]

    def filled(self, tensors: list) -> tuple[Any, Any]:
        """Returns args and kwargs with tensors in the places."""
        rest = iter(tensors)

        def fill(leaf):
            return next(rest) if isinstance(leaf, Floats) else leaf

        return keras.tree.map_structure(fill, (self.args, self.kwargs))
