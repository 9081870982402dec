"""Counts in messages: one function writes them all, in the singular for 1."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_smooth
from keras_smooth.presentation.counts import counted

PACKAGE = Path(keras_smooth.__file__).parent
# Words after a value in braces that end in s, and are no counted nouns or have no count of 1.
OTHER = {
    "arguments of more than 1": ("inputs",),
    "bytes and rows of matrices that exceed the memory": ("rows", "numbers", "samples"),
    "a constant above 1": ("derivatives",),
    "a verb": ("names", "runs"),
}
EXCEPTIONS = {
    "differentiation/vector_calculus.py": "arguments of more than 1",
    "differentiation/engines.py": "a constant above 1",
    "differentiation/points.py": "a verb",
    "lbfgs/objective/residuals.py": "bytes and rows of matrices that exceed the memory",
    "auditing/claimed_sizes.py": "bytes and rows of matrices that exceed the memory",
    "models/sample_inputs.py": "a verb",
}


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (2, ("row",), "2 rows"),
        (1, ("pass", "passes"), "1 pass"),
        (3, ("pass", "passes"), "3 passes"),
        (np.int64(1), ("entry", "entries"), "1 entry"),
    ],
)
def test_counted_uses_the_singular_for_one(number, words, text):
    assert counted(number, *words) == text


def counted_nouns(trees):
    """Returns the plurals of all nouns that the package counts."""
    calls = (
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "counted"
    )
    nouns = [[word.value for word in call.args[1:]] for call in calls]
    return {words[1] if len(words) > 1 else f"{words[0]}s" for words in nouns}


def test_no_message_writes_the_plural_of_a_counted_noun_itself():
    trees = {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    nouns = counted_nouns(trees.values())
    assert {"values", "rows", "passes", "entries"} <= nouns
    written = set()
    for path, tree in trees.items():
        texts = (node.values for node in ast.walk(tree) if isinstance(node, ast.JoinedStr))
        for value, text in (pair for each in texts for pair in zip(each, each[1:])):
            if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                word = text.value[1:].split(" ")[0].strip(",.:;>")
                name = path.relative_to(PACKAGE).as_posix()
                allowed = OTHER.get(EXCEPTIONS.get(name, ""), ())
                if text.value[:1] == " " and word in nouns and word not in allowed:
                    written.add((name, value.lineno, word))
    assert not written


def test_audit_counts_one_value_in_the_singular():
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Lambda(lambda x: keras.ops.maximum(x, 0.0))]
    )
    x = np.array([[-1.0], [2.0], [3.0], [4.0]], "float32")
    report = repr(keras_smooth.audit(model, x).rows[-1].reason)
    assert "1 value on one side and 3 on the other" in report


def test_verification_of_one_point_has_a_singular():
    result = keras_smooth.derivatives(keras.ops.sin, np.ones((1, 1)), verify=True)
    assert "values of the model, 1 point, float64" in repr(result.verification)


def test_templates_count_by_the_same_function():
    from keras_smooth.presentation import templates

    text = templates._environment().from_string('{{ n|counted("run") }}')
    assert [text.render(n=n) for n in (1, 2)] == ["1 run", "2 runs"]
