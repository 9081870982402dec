"""Where an array is not finite."""

import numpy as np


def first_non_finite(array: np.ndarray) -> tuple[int, ...] | None:
    """Returns the first place of an inf or NaN, or None where there is none."""
    if not np.issubdtype(array.dtype, np.floating) or np.all(np.isfinite(array)):
        return None
    return tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
