"""What Keras 3.10 cannot do itself, and the tests that ask it for that."""

import keras

IS_OLD = tuple(map(int, keras.__version__.split(".")[:2])) < (3, 11)
_ROUNDS = "Keras 3.10 rounds constants beside tensors of float64 to float32"
_LACKS = "Keras 3.10 has no such function"
# Beginning of a test's name: why it is skipped.
REASONS = {
    "test_operation[convert_to_tensor]": _ROUNDS,
    "test_operations_are_replaced[initial]": _ROUNDS,
    "test_operations_are_replaced[minimum]": _ROUNDS,
    "test_operations_are_replaced[range]": _LACKS,
    "test_layer_normalization_as_an_operation": _LACKS,
    "test_functions_of_weights_stay": "Keras 3.10 takes no function as a constraint",
}


def reason(test: str) -> str | None:
    """Returns why a test cannot pass with the installed Keras, if so."""
    found = (why for start, why in REASONS.items() if test.startswith(start))
    return next(found, None) if IS_OLD else None
