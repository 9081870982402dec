"""Whether seeds distinguish two activations: the exact Wilcoxon-Mann-Whitney test.

Mann and Whitney, 1947, "On a test of whether one of two random variables is stochastically larger
than the other", https://doi.org/10.1214/aoms/1177730491.
"""

from collections.abc import Sequence

import numpy as np

TEST = "exact Wilcoxon-Mann-Whitney test, one-sided"
LEVEL = 0.05
# More seeds than these of one activation are told apart by the first of them.
MOST_SEEDS = 30


def chance(low: Sequence[float], high: Sequence[float]) -> float:
    """Returns the chance of ranks as low as those of `low`, were both alike.

    Every choice of as many ranks is as likely as any other then. Equal values share the mean
    of their ranks. The test is one-sided.
    """
    low, high = low[:MOST_SEEDS], high[:MOST_SEEDS]
    values = np.asarray([*low, *high], float)
    # Twice the ranks, which are whole numbers also where they are shared.
    ranks = np.array([2 * np.sum(values < v) + np.sum(values == v) + 1 for v in values])
    # By number of values that are chosen, and by the sum of their ranks: in how many ways.
    ways = np.zeros((len(low) + 1, ranks.sum() + 1))
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank].copy()
    sums = ways[-1]
    return float(sums[: ranks[: len(low)].sum() + 1].sum() / sums.sum())


def are_told_apart(low: Sequence[float], high: Sequence[float]) -> bool:
    """Whether the test says that the first are lower."""
    # The chance of three apart from three is the level itself, but for rounding.
    return chance(low, high) <= LEVEL * (1 + 1e-9)
