"""Lines through the inputs of a layer: points along which its derivatives are measured."""

import dataclasses
from collections.abc import Callable

import numpy as np

SEED = 1
# Points where the pieces of common activations meet, and points between them.
JOINTS = (-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, -2.31, -0.37, 0.63, 1.72)
REACH = 8.0


@dataclasses.dataclass(frozen=True)
class Line:
    """Points base + t * direction.

    Args:
        base: Start of the line, from the value that reached the layer and a random
            generator that all values share: equal to each other they would be special.
        direction: The same.
        points: Values of t at which derivatives are checked.
        reach: How far from t = 0 values are looked at.
        jumps: Whether jumps of derivatives are sought that far.
        alone: Whether also for layers that take one point at a time.
        where: Where it runs, for lines that keep away from the values that reached the
            layer.
        generic: Whether nothing is special about its points but their size: a fault of the
            code that shows there is one wherever signals are of that size.
    """

    base: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    direction: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    points: tuple[float, ...] = (0.0,)
    reach: float = 3.0
    jumps: bool = False
    alone: bool = False
    where: str = ""
    generic: bool = False

    @property
    def away(self) -> bool:
        """Whether it keeps away from the values that reached the layer."""
        return bool(self.where)

    def through(self, values: list) -> tuple[list, list]:
        """Returns base and direction for each value, None where the value is None."""

        def drawn(function: Callable, seed: int) -> list:
            rng = np.random.default_rng(seed)
            return [None if value is None else function(value, rng) for value in values]

        return drawn(self.base, SEED + 1), drawn(self.direction, SEED)


def _value(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.array(value)


def _zeros(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.zeros_like(value)


def _equal(number: float) -> Callable:
    return lambda value, rng: np.full_like(value, number)


def _spread(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # At a start at which signals die out, the spread is too small to see a curvature.
    return rng.normal(size=value.shape) * max(value.std(), 0.01)


def _middle(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.full_like(value, (value.min() + value.max()) / 2)


def _half_range(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.full_like(value, max((value.max() - value.min()) / 2, 0.01))


def _normal(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=value.shape)


GENERIC = Line(_value, _spread, (0.0, 0.31), jumps=True)
# Where other samples of the call are, of which one may have a zero or a tie.
OTHERS = dataclasses.replace(GENERIC, points=(0.0,), jumps=False)
# From the least to the largest of the values, so that no kink among them is passed by.
RANGE = Line(
    _middle,
    _half_range,
    (0.31,),
    reach=1.2,
    jumps=True,
    where="within the range of its inputs",
)
# From one sample to another: across whatever parts their neighborhoods, and past points, such
# as those where two atoms coincide, that only special lines meet.
BETWEEN = Line(
    _value,
    lambda value, rng: np.roll(value, 1, axis=0) - value,
    (0.31,),
    reach=1.2,
    jumps=True,
)
# Where signals die out on the way to a layer, its faults show at values of size 1 only.
UNIT = Line(_normal, _normal, where="at inputs of size 1", generic=True)
ZERO = Line(_zeros, _normal, where="at inputs of 0")
# Where it is not known at what values the pieces of a function meet.
FAR = dataclasses.replace(ZERO, reach=REACH, jumps=True, where="at inputs up to size 8")
TIES = Line(_equal(0.7), _normal, where="at equal inputs")
ALL_JOINTS = Line(
    _zeros,
    _equal(1.0),
    JOINTS,
    REACH,
    jumps=True,
    where="at inputs from -8 to 8",
)


def image_lines(low: float, high: float) -> tuple[Line, ...]:
    """Returns lines through images whose pixels lie in a range.

    From a random image to beyond the range; from a uniform gray, and from the lower end,
    where pixels are cut off.
    """
    size = high - low

    def image(value, rng):
        return low + size * np.random.default_rng(SEED + 2).uniform(size=value.shape)

    def direction(value, rng):
        return 0.3 * size * rng.normal(size=value.shape)

    return (
        Line(image, direction, reach=1.0, jumps=True, alone=True),
        Line(_equal(low + 0.7 * size), direction),
        Line(_equal(low), direction),
    )


def near(nearby: bool) -> tuple[Line, ...]:
    """Returns the lines through the values of a call, or within their range."""
    return GENERIC, BETWEEN if nearby else RANGE


def of(
    value_range: tuple[float, float] | None, joints: bool, nearby: bool
) -> tuple[Line, ...]:
    """Returns the lines along which a layer is measured.

    Args:
        value_range: Of the pixels of images, for layers that have one.
        joints: Whether to look at the points where the pieces of activations meet.
        nearby: Whether it is asked about the values of the call alone.
    """
    pieces = (ZERO, ALL_JOINTS) if joints else (FAR,)
    lines = (*near(nearby), UNIT, TIES, *pieces)
    return (*lines, *image_lines(*value_range)) if value_range else lines
