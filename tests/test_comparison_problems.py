"""What a comparison learns: the table of exact problems, and CSV files."""

import numpy as np
import pytest

from keras_smooth.comparison import problems


@pytest.mark.parametrize("exact", problems.TABLE, ids=lambda exact: exact.name)
def test_derivatives_of_the_table(exact):
    x = np.linspace(*exact.domain, 37)
    step = 1e-5
    for function, derivative in ((exact.y, exact.dy), (exact.dy, exact.d2y)):
        central = (function(x + step) - function(x - step)) / (2 * step)
        # step^2 / 6 times a third derivative of up to 1e4.
        np.testing.assert_allclose(derivative(x), central, atol=2e-6, rtol=1e-6)


def test_the_articles_problem():
    problem = problems.load("gaussian")
    x, y = problem.draw(0)
    assert x.shape == y.shape == (1000,) and x.min() >= -2 and x.max() <= 2
    np.testing.assert_array_equal(problem.x, np.linspace(-2, 2, 101))
    assert np.any(problem.draw(1)[0] != x) and np.all(problem.draw(0)[0] == x)
    # (4x^2 - 2) exp(-x^2), where the article prints (4x^2 - x).
    assert problem.exact[2][50] == -2.0


def write_csv(path, text):
    path.write_text(text)
    return str(path)


GOOD = "x,y,dy,d2y\n" + "".join(f"{10 * i},{i**2},{i / 5},{1 / 50}\n" for i in range(12))


def test_csv(tmp_path):
    problem = problems.load(write_csv(tmp_path / "data.csv", GOOD))
    np.testing.assert_array_equal(problem.x, 10.0 * np.arange(12))
    assert all(part is not None for part in problem.exact)
    assert problem.x_scale == (55.0, 55.0)


def test_csv_without_derivatives_and_in_any_order(tmp_path):
    lines = [f"{i * 1.5}, {12 - i}" for i in range(12)]
    problem = problems.load(write_csv(tmp_path / "d.csv", "y, x\n" + "\n".join(lines)))
    assert problem.exact[1] is None and problem.exact[2] is None
    assert list(problem.x) == sorted(problem.x)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("y,", "z,", 1), "no column y"),
        ("", "no column x and no column y"),
        (
            GOOD.replace("20,", "twenty,"),
            "line 4: x must be a finite number, received 'twenty'",
        ),
        (GOOD.replace("20,4,", "20,nan,"), "line 4: y must be a finite number"),
        (GOOD.replace("110,121,2.2,0.02", "110"), "line 13: y must be .* received None"),
        ("x,y\n1,2\n3,4\n", "2 rows of data; at least 10"),
        ("x,y\n" + "1,2\n" * 12, "nothing to learn"),
    ],
)
def test_bad_csv(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        problems.load(write_csv(tmp_path / "bad.csv", text))


def test_unknown_problem():
    with pytest.raises(
        ValueError, match="no problem named 'gausian'.*Did you mean gaussian"
    ):
        problems.load("gausian")
    with pytest.raises(ValueError, match="Cannot read missing.csv"):
        problems.load("missing.csv")
