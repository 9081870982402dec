"""Operations on paths from inputs to outputs, in bodies of control flow and functions."""

import numpy as np
import pytest
import tensorflow as tf

from keras_smooth import operations

WEIGHT = tf.Variable(0.5, dtype="float64")


def loop_with_a_constant(x):
    """The body reads the weight and computes its tangent, which do not depend on x."""
    _, y = tf.while_loop(
        lambda i, y: i < 3,
        lambda i, y: (i + 1, tf.sin(y) * tf.tan(WEIGHT)),
        (tf.constant(0), x),
    )
    return y


def loop_with_an_idle_variable(x):
    """The last variable of the loop does not depend on x."""
    _, y, z = tf.while_loop(
        lambda i, y, z: i < 3,
        lambda i, y, z: (i + 1, tf.sin(y), tf.tan(z)),
        (tf.constant(0), x, tf.constant(0.3, x.dtype)),
    )
    return y + z


def loop_that_x_enters_late(x):
    """The last variable of the loop depends on x from the second iteration on."""
    _, _, z = tf.while_loop(
        lambda i, y, z: i < 3,
        lambda i, y, z: (i + 1, tf.sin(x), tf.tan(y)),
        (tf.constant(0), 0 * x, 0 * x),
    )
    return z


def function_of_a_function(x):
    inner = tf.function(lambda x, w: tf.sin(x) * tf.tan(w))
    return tf.function(lambda x: inner(x, WEIGHT))(x)


def branches(x):
    return tf.cond(WEIGHT > 0, lambda: tf.sin(x) * tf.tan(WEIGHT), lambda: tf.cos(x))


# A function of x, operations that are on a path from x to the output, and others.
PROGRAMS = {
    "loop with a constant": (loop_with_a_constant, {"While", "Sin"}, {"Tan", "ReadVariableOp"}),
    "loop with an idle variable": (loop_with_an_idle_variable, {"While", "Sin"}, {"Tan"}),
    "loop that x enters late": (loop_that_x_enters_late, {"While", "Sin", "Tan"}, set()),
    "function of a function": (function_of_a_function, {"Sin"}, {"Tan", "ReadVariableOp"}),
    "branches": (branches, {"Sin", "Cos"}, {"Tan", "ReadVariableOp"}),
}  # fmt: skip


def _traced(function):
    x = tf.constant(np.linspace(0.1, 0.9, 4))
    traced = operations.trace(lambda x: function(x), [x])
    return traced.program, [True, *[False] * len(traced.captured)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_operations_on_paths_are_found(name):
    function, expected, absent = PROGRAMS[name]
    kinds = {
        operation.type.removeprefix("Stateless")
        for operation in operations.on_paths(*_traced(function))
    }
    assert expected <= kinds
    assert not kinds & absent


def test_dependent_outputs_distinguishes_the_variables_of_a_loop():
    def function(x):
        _, y, z = tf.while_loop(
            lambda i, y, z: i < 3,
            lambda i, y, z: (i + 1, tf.sin(y), tf.tan(z)),
            (tf.constant(0), x, tf.constant(0.3, x.dtype)),
        )
        return y, z

    assert operations.dependent_outputs(*_traced(function)) == [True, False]


@pytest.mark.parametrize("predicate", ["by the input", "by a weight"])
def test_cond_has_a_jump_only_if_its_predicate_depends_on_x(predicate):
    """Two branches, sin and cos, have a jump if x decides between them, and else none."""

    def function(x):
        value = tf.reduce_sum(x) if predicate == "by the input" else WEIGHT
        return tf.cond(value > 0, lambda: tf.sin(x), lambda: tf.cos(x))

    expected = -1 if predicate == "by the input" else np.inf
    assert operations.smoothness(*_traced(function)) == expected


def test_signs_in_a_function_body_are_those_of_the_body():
    """The root in the body is of a tensor that may be 0; an outer one of its name is positive."""

    @tf.function(autograph=False)
    def inner(y):
        return tf.sqrt(tf.math.square(y, name="shared"))

    def function(x):
        outer = tf.math.add(tf.square(x), 1.0, name="shared")
        return inner(x) + tf.sqrt(outer)

    assert operations.smoothness(*_traced(function), at_edges=True) < 1
