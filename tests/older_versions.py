"""Tests that are skipped with older versions of Keras and TensorFlow, and why."""

import keras
import tensorflow as tf


def older(package, minor: tuple[int, int]) -> bool:
    return tuple(map(int, package.__version__.split(".")[:2])) < minor


_ROUNDS_TO_FLOAT32 = "Keras 3.10 rounds constants beside tensors of float64 to float32"
_BLURS = "Keras 3.10 blurs images of float32 alone"
_NO_LAYER_NORMALIZATION = "Keras 3.10 has no such function"
_NO_FUNCTION_AS_CONSTRAINT = "Keras 3.12 takes no function as a constraint or a regularizer"
# Beginning of the name of a test: the reason to skip it.
OF_KERAS_3_10 = {
    "test_functions_are_smooth_at_generic_point[image.gaussian_blur]": _BLURS,
    "test_tapes_are_right_at_generic_point_or_raise[image.gaussian_blur]": _BLURS,
    "test_rough_operations_are_replaced_by_smooth_ones[initial]": _ROUNDS_TO_FLOAT32,
    "test_rough_operations_are_replaced_by_smooth_ones[minimum]": _ROUNDS_TO_FLOAT32,
    "test_ops_layer_normalization_with_scale": _NO_LAYER_NORMALIZATION,
    "test_operations_kept_off_their_rough_points_are_no_fault[one number off]": (
        "Keras 3.10 raises for ops.logsumexp with keepdims in a graph"
    ),
}
OF_KERAS_3_12 = {
    "test_rough_operations_are_replaced_by_smooth_ones[range]": "Keras 3.12 has no ops.ptp",
    "test_constraints_of_weights_are_not_replaced": _NO_FUNCTION_AS_CONSTRAINT,
    "test_copy_has_the_same_function_objects[others]": _NO_FUNCTION_AS_CONSTRAINT,
    "test_copy_has_the_same_outputs[float64-others]": _NO_FUNCTION_AS_CONSTRAINT,
    "test_copy_has_the_same_outputs[None-others]": _NO_FUNCTION_AS_CONSTRAINT,
    "test_constraints_raise[own]": _NO_FUNCTION_AS_CONSTRAINT,
    "test_every_layer_and_activation_is_in_the_table": (
        "the table is of a newer Keras, which has more layers"
    ),
}
OF_TENSORFLOW = {
    # Cropped images use Keras' own code.
    "test_derivatives_are_proven_to_order_3[Resizing-6]": (
        "TensorFlow 2.16 has no second derivative of bilinear interpolation"
    ),
}
# Second derivatives after bilinear interpolation: an error before TensorFlow 2.18, lost since.
RAISES_WHERE_LATER_ONES_LOSE = older(tf, (2, 18))
REASONS = {
    **(OF_KERAS_3_10 if older(keras, (3, 11)) else {}),
    **(OF_KERAS_3_12 if older(keras, (3, 13)) else {}),
    **(OF_TENSORFLOW if older(tf, (2, 18)) else {}),
}


def reason(test: str) -> str | None:
    """Returns why a test cannot pass with the installed versions, if so."""
    return next((why for start, why in REASONS.items() if test.startswith(start)), None)
