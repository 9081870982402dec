"""What is on the way from inputs to outputs, through bodies of control flow and functions."""

import numpy as np
import pytest
import tensorflow as tf

from keras_smooth import operations

WEIGHT = tf.Variable(0.5, dtype="float64")


def loop_with_a_constant(x):
    """The weight is read and its tangent computed in the body, and x does not reach them."""
    _, y = tf.while_loop(
        lambda i, y: i < 3,
        lambda i, y: (i + 1, tf.sin(y) * tf.tan(WEIGHT)),
        (tf.constant(0), x),
    )
    return y


def loop_with_an_idle_variable(x):
    """The second variable of the loop never depends on x."""
    _, y, z = tf.while_loop(
        lambda i, y, z: i < 3,
        lambda i, y, z: (i + 1, tf.sin(y), tf.tan(z)),
        (tf.constant(0), x, tf.constant(0.3, x.dtype)),
    )
    return y + z


def loop_that_x_enters_late(x):
    """x reaches the second variable in the second turn, by the first one."""
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


# A function of x, operations of bodies that are on the way, and those that are not.
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
def test_between(name):
    function, expected, absent = PROGRAMS[name]
    kinds = {
        each.type.removeprefix("Stateless")
        for each in operations.on_paths(*_traced(function))
    }
    assert expected <= kinds
    assert not kinds & absent


def test_reached_tells_the_variables_of_a_loop_apart():
    def function(x):
        _, y, z = tf.while_loop(
            lambda i, y, z: i < 3,
            lambda i, y, z: (i + 1, tf.sin(y), tf.tan(z)),
            (tf.constant(0), x, tf.constant(0.3, x.dtype)),
        )
        return y, z

    assert operations.dependent_outputs(*_traced(function)) == [True, False]


@pytest.mark.parametrize("decided", ["by the input", "by a weight"])
def test_what_decides_jumps_where_it_moves(decided):
    """sin on one side and cos on the other: a jump where x decides, else none."""

    def function(x):
        decides = tf.reduce_sum(x) if decided == "by the input" else WEIGHT
        return tf.cond(decides > 0, lambda: tf.sin(x), lambda: tf.cos(x))

    expected = -1 if decided == "by the input" else np.inf
    assert operations.smoothness(*_traced(function)) == expected


def test_signs_of_a_body_are_its_own():
    """The root in the body is of what may be 0; a tensor of its name outside is positive."""

    @tf.function(autograph=False)
    def inner(y):
        return tf.sqrt(tf.math.square(y, name="shared"))

    def function(x):
        outer = tf.math.add(tf.square(x), 1.0, name="shared")
        return inner(x) + tf.sqrt(outer)

    assert operations.smoothness(*_traced(function), at_edges=True) < 1
