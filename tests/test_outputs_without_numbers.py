"""Outputs that have no derivatives, or none of floats: a sentence says what to return."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth

X = np.linspace(-1.0, 1.0, 6, dtype="float32").reshape(3, 2)
# Functions that do not return tensors, or none of numbers, and the words of the error.
WITHOUT_NUMBERS = {
    "text": (tf.strings.as_string, "returned a tensor of string"),
    "text and floats": (
        lambda x: [tf.strings.as_string(x), x**2],
        "returned a tensor of string",
    ),
    "an empty list": (lambda x: [], r"returned \[\]"),
    "an empty dict": (lambda x: {}, r"returned \{\}"),
    "nested empty lists": (lambda x: ([], {}), r"returned \(\[\], \{\}\)"),
    "None": (lambda x: None, "returned None"),
    "None in a list": (lambda x: [x, None], "returned None"),
    "a number of Python": (lambda x: 1.0, "returned 1.0"),
    "a sparse tensor": (tf.sparse.from_dense, "returned a SparseTensor"),
}
OPERATORS = {
    "gradient": keras_smooth.gradient,
    "derivatives": keras_smooth.derivatives,
    "laplacian": keras_smooth.laplacian,
    "tapes": lambda function, x: keras_smooth.derivatives(function, x, engine="tape"),
    "verify": lambda function, x: keras_smooth.derivatives(function, x, verify=True),
}
INTEGERS = {
    "rounded": lambda x: tf.cast(x, "int32"),
    "compared": lambda x: x > 0,
    "a place": lambda x: tf.argmax(x, axis=1),
    "in a dict": lambda x: {"a": tf.cast(x, "int64")},
}


class Calling(keras.Model):
    def __init__(self, function):
        super().__init__(name="calling")
        self.function = function

    def call(self, x):
        return self.function(x)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize(
    ("function", "words"), WITHOUT_NUMBERS.values(), ids=WITHOUT_NUMBERS
)
def test_outputs_without_numbers_raise_a_type_error(function, words, operator):
    with pytest.raises(TypeError, match=f"{words}.* Return "):
        operator(function, X)


@pytest.mark.parametrize("name", [n for n in WITHOUT_NUMBERS if "text" not in n])
def test_audit_of_outputs_that_are_no_tensors_names_the_model(name):
    function, words = WITHOUT_NUMBERS[name]
    with pytest.raises(TypeError, match=f"calling.*{words}"):
        keras_smooth.audit(Calling(function), X)


def test_audit_of_text_beside_floats_is_not_examined():
    report = keras_smooth.audit(Calling(WITHOUT_NUMBERS["text and floats"][0]), X)
    assert (report.inference, report.model.cause) == ("not examined", "text")


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("function", INTEGERS.values(), ids=INTEGERS)
def test_derivatives_of_integers_are_reported_as_lost(function, operator):
    if operator is keras_smooth.gradient and function is INTEGERS["in a dict"]:
        pytest.skip("A gradient is that of one output.")
    with pytest.raises(ValueError, match="The derivative of order 1 is lost"):
        operator(function, X)


@pytest.mark.parametrize("name", ["rounded", "compared", "in a dict"])
def test_audit_of_integers_is_faulty(name):
    assert keras_smooth.audit(Calling(INTEGERS[name]), X).inference == "faulty"


@pytest.mark.parametrize("place", [0, 1])
def test_constant_integers_beside_floats_are_verified(place):
    def function(x):
        outputs = [x**2, x**3]
        outputs[place] = tf.zeros([3], "int32")
        return outputs

    result = keras_smooth.derivatives(function, X, engine="tape", verify=True)
    assert not result[1][place].numpy().any()
    assert "3 points, float32" in repr(result.verification)
