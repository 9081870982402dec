"""Whether seeds distinguish two activations: the exact Wilcoxon-Mann-Whitney test.

Mann and Whitney, 1947, "On a test of whether one of two random variables is stochastically larger
than the other", https://doi.org/10.1214/aoms/1177730491.
"""

from collections.abc import Sequence

import numpy as np

TEST = "exact Wilcoxon-Mann-Whitney test, one-sided"
LEVEL = 0.05
# The test uses at most this many seeds of each activation.
MAX_SEEDS_SHOWN = 30


def p_value(low: Sequence[float], high: Sequence[float]) -> float:
    """Returns the one-sided p-value of the test that `low` has lower values than `high`.

    Under the null hypothesis, every subset of the ranks is equally likely for `low`. Equal values
    have the mean of their ranks.
    """
    low, high = low[:MAX_SEEDS_SHOWN], high[:MAX_SEEDS_SHOWN]
    values = np.asarray([*low, *high], float)
    # Twice the ranks, which are integers even for equal values.
    ranks = np.array([2 * np.sum(values < v) + np.sum(values == v) + 1 for v in values])
    # The number of subsets of the ranks, by their size and their sum.
    num_subsets = np.zeros((len(low) + 1, ranks.sum() + 1))
    num_subsets[0, 0] = 1.0
    for rank in ranks:
        num_subsets[1:, rank:] += num_subsets[:-1, :-rank].copy()
    by_sum = num_subsets[-1]
    return float(by_sum[: ranks[: len(low)].sum() + 1].sum() / by_sum.sum())


def is_lower(low: Sequence[float], high: Sequence[float]) -> bool:
    """Returns whether the values of `low` are significantly lower than those of `high`."""
    # If all of three values are lower than all of three others, the p-value is 0.05 itself.
    return p_value(low, high) <= LEVEL * (1 + 1e-9)
