"""The activation comparison: problems, experiment, report."""

from keras_smooth.comparison.run import Comparison, compare

__all__ = ["Comparison", "compare"]
