"""Jumps of derivatives on a line, apart from slopes that are only steep."""

import math

import numpy as np
import pytest

from keras_smooth.auditing import jumps
from keras_smooth.auditing.towers import Tower

# Not on a point of any grid.
PLACE = 0.31830988618379067


def tower(function, rounding=2.0**-52):
    def evaluate(t):
        values = np.array([function(t - PLACE)])
        return Tower(values, math.inf, (math.inf, ""), rounding)

    return evaluate


# A step, and the order that jumps. Intervals of 0.07 are cut to 4e-9, and then to 1e-13.
STEPS = {
    "a jump": (np.sign, 0),
    "a jump on a slope": (lambda t: np.sign(t) + 3 * t, 0),
    "steep": (lambda t: np.tanh(1e3 * t), math.inf),
    "as steep as one epsilon makes it": (lambda t: np.tanh(1e6 * t), math.inf),
    "as steep as an epsilon of 1e-12 makes it": (lambda t: np.tanh(1e11 * t), math.inf),
    "and as two make it": (lambda t: np.tanh(3e11 * t), math.inf),
}


@pytest.mark.parametrize("name", STEPS)
def test_steep_is_no_jump(name):
    function, jump = STEPS[name]
    found = jumps.seek(tower(function), 4.0, 0, np.zeros(1))
    assert (found.verdict, found.jump) == ("rough" if jump == 0 else "ok", jump)


def test_float32_has_no_smaller_intervals():
    """There what is steep within a rounding is a jump."""
    found = jumps.seek(tower(STEPS["and as two make it"][0], 2.0**-23), 4.0, 0, np.zeros(1))
    assert found.verdict == "rough"
