"""Keras' metrics, in float64."""

from typing import Any

import keras

from keras_smooth.checks import function, shown


def metric_of(identifier: Any) -> keras.metrics.Metric:
    """Returns the metric; a metric that is created here computes in float64.

    Raises:
        TypeError: If it is no metric, and no name or function of one.
        ValueError: If there is none of that name.
    """
    if isinstance(identifier, keras.metrics.Metric):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, keras.metrics.Metric):
        return identifier(dtype="float64")
    metric = identifier
    if isinstance(identifier, str):
        try:
            metric = keras.metrics.get(identifier)
        except ValueError:
            raise ValueError(
                f"`metric`: Keras has no metric named {identifier!r}, as it has 'mse'."
            ) from None
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config({**metric.get_config(), "dtype": "float64"})
    if not callable(metric) or isinstance(metric, type | keras.layers.Layer):
        raise TypeError(
            "`metric` must be the name, the class or an instance of a Keras metric, or a "
            f"function of y_true and y_pred; received {shown(identifier)}."
        )
    function("`metric`", metric, "y_true", "y_pred")
    name = getattr(metric, "__name__", type(metric).__name__)

    def in_float64(y_true: Any, y_pred: Any) -> Any:
        # In the same dtype, since a function may subtract one from the other.
        return metric(keras.ops.cast(y_true, "float64"), keras.ops.cast(y_pred, "float64"))

    return keras.metrics.MeanMetricWrapper(in_float64, name=name, dtype="float64")
