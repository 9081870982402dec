"""Keras' metrics, in float64."""

from typing import Any

import keras


def metric_of(identifier: Any) -> keras.metrics.Metric:
    """Returns the metric; one that is made here computes in float64."""
    if isinstance(identifier, keras.metrics.Metric):
        return identifier
    if isinstance(identifier, type):
        return identifier(dtype="float64")
    metric = keras.metrics.get(identifier)
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config({**metric.get_config(), "dtype": "float64"})
    return keras.metrics.MeanMetricWrapper(metric, name=metric.__name__, dtype="float64")
