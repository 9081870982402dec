"""Problems of a comparison: exact ones, functions, text files and arrays."""

import os

import keras
import numpy as np
import pytest

import keras_smooth
from keras_smooth.comparison import options, problems
from keras_smooth.comparison.options import DTYPES
from keras_smooth.comparison.problems import exact

EXACT = exact.EXACT_PROBLEMS


@pytest.mark.parametrize("exact", EXACT, ids=lambda exact: exact.name)
def test_exact_derivatives_agree_with_differences(exact):
    x = np.linspace(*exact.domain, 37)
    steps = [1e-5]
    if exact.dim > 1:
        x = np.random.default_rng(0).uniform(*exact.domain, (37, exact.dim))
        steps = 1e-5 * np.eye(exact.dim)
    for function, derivative in ((exact.y, exact.dy), (exact.dy, exact.d2y)):
        central = [(function(x + step) - function(x - step)) / 2e-5 for step in steps]
        central = np.stack(central, axis=-1) if exact.dim > 1 else central[0]
        # step^2 / 6 times a third derivative of up to 1e4.
        np.testing.assert_allclose(derivative(x), central, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [
        # Franke's four terms at a corner, and the minima of Himmelblau's function.
        (
            "franke",
            (0.0, 0.0),
            0.75 * np.exp(-2.0)
            + 0.75 * np.exp(-1 / 49 - 0.1)
            + 0.5 * np.exp(-14.5)
            - 0.2 * np.exp(-65.0),
        ),
        ("himmelblau", (3.0, 2.0), 0.0),
        ("himmelblau", (-2.805118, 3.131312), 0.0),
        ("himmelblau", (0.0, 0.0), 170.0 / 200.0),
        ("gaussian_2d", (1.0, -1.0), np.exp(-2.0)),
    ],
)
def test_exact_problems_have_published_values(name, point, value):
    values = exact.named(name).y(np.array([point]))
    np.testing.assert_allclose(values, [value], atol=1e-9)


@pytest.mark.parametrize("name", ["gaussian_2d", "gaussian_5d", "gaussian_3d"])
def test_curves_along_the_diagonal_of_gaussians(name):
    problem = problems.load_problem(name)
    # On the diagonal, |x|^2 is the square of the length.
    s, c = problem.line(), 2.0 / problem.dim
    y = np.exp(-c * s**2)
    exact = (y, -2 * c * s * y, (4 * c**2 * s**2 - 2 * c) * y)
    for curve, expected in zip(problem.along_line(problem.exact), exact):
        np.testing.assert_allclose(curve, expected, atol=1e-14)
    assert problem.along_line((None, *problem.exact[1:]))[0] is None
    num, dim = problem.x.shape
    assert [expected.shape for expected in problem.exact] == [
        (num,),
        (num, dim),
        (num, dim, dim),
    ]
    assert problem.draw(3)[0].shape == (1000, dim) and problem.draw(3)[1].shape == (1000,)


@pytest.mark.parametrize("name", ["gaussian_1d", "gaussian_21d", "gaussian_d", "franke_2d"])
def test_wrong_dimensions_raise(name):
    with pytest.raises(ValueError, match=f"no problem named '{name}'"):
        problems.load_problem(name)


def test_noise_is_in_training_data_only():
    exact, noisy = (problems.load_problem("sine", noise=noise) for noise in (0.0, 0.1))
    for seed in (0, 1):
        (x, y), (noisy_x, noisy_y) = exact.draw(seed), noisy.draw(seed)
        np.testing.assert_array_equal(x, noisy_x)
        # The deviation of 1000 normal numbers has an error of some percent.
        assert np.std(noisy_y - y) == pytest.approx(0.1 * np.std(y), rel=0.1)
        np.testing.assert_array_equal(noisy_y, noisy.draw(seed)[1])
    for values, noisy_values in zip(exact.exact, noisy.exact):
        np.testing.assert_array_equal(values, noisy_values)
    assert exact.digest() != noisy.digest()


def ripple(x):
    return keras.ops.sin(2.0 * x) * keras.ops.exp(-x)


def test_derivatives_of_a_function_are_computed():
    problem = problems.load_problem(ripple, domain=(0, 3))
    x, decay = problem.x, np.exp(-problem.x)
    sine, cosine = np.sin(2 * x), np.cos(2 * x)
    exact = decay * (sine, 2 * cosine - sine, -3 * sine - 4 * cosine)
    # Rounding of float64, in numbers of at most 5.
    np.testing.assert_allclose(problem.exact, exact, atol=1e-13)
    points, y = problem.draw(3)
    np.testing.assert_allclose(y, np.sin(2 * points) * np.exp(-points), atol=1e-14)
    assert problem.formula == "ripple(x)" and problem.x_scale == (1.5, 1.5)


@pytest.mark.parametrize("domain", [(1, 0), (0, 0), (0,), 3, ("a", "b"), (0, np.inf), None])
def test_wrong_domains_raise(domain):
    with pytest.raises(
        (TypeError, ValueError), match="domain must (be two finite|hold real)"
    ):
        problems.load_problem(ripple, domain)


def test_function_of_numpy_raises():
    with pytest.raises(TypeError, match="made of keras.ops"):
        problems.load_problem(lambda x: np.exp(x))


def test_gaussian_is_the_problem_of_the_article():
    problem = problems.load_problem("gaussian")
    x, y = problem.draw(0)
    assert x.shape == y.shape == (1000,) and x.min() >= -2 and x.max() <= 2
    np.testing.assert_array_equal(problem.x, np.linspace(-2, 2, 101))
    assert np.any(problem.draw(1)[0] != x) and np.all(problem.draw(0)[0] == x)
    # (4x^2 - 2) exp(-x^2), where the article prints (4x^2 - x).
    assert problem.exact[2][50] == -2.0


ROWS = [(10 * i, i**2, i / 5, 1 / 50) for i in range(12)]


def text(rows=ROWS, head="x,y,dy,d2y", separator=","):
    lines = [separator.join(repr(number) for number in row) for row in rows]
    return "\n".join([head, *lines]) + "\n"


TEXT_FORMATS = {
    "plain": text(),
    "semicolons": text(head="x;y;dy;d2y", separator=";"),
    "tabs": text(head="x\ty\tdy\td2y", separator="\t"),
    "spaces": text(head="x  y dy   d2y", separator="   "),
    "upper case and spaces": text(head=" X , Y,DY, D2Y ", separator=" , "),
    "carriage returns": text().replace("\n", "\r\n"),
    "a mark of byte order": "\ufeff" + text(),
    "quotes": text(head='"x","y","dy","d2y"'),
    "comments and empty lines": "# made by hand\n\n"
    + text().replace("\n20", "\n\n# so\n20"),
    "any order": text([row[::-1] for row in ROWS[::-1]], "d2y,dy,y,x"),
    "other columns": text([(7, *row, 7) for row in ROWS], "n,x,y,dy,d2y,n"),
    "numpy.savetxt": text(head="# x y dy d2y", separator=" "),
    "numpy.savetxt after a comment": "# made by hand\n" + text(head="# x,y,dy,d2y"),
    "other numbers": text().replace("10,1,", "1.0E+1,+1.,").replace("0.02", ".02"),
}


@pytest.mark.parametrize("content", TEXT_FORMATS.values(), ids=TEXT_FORMATS)
def test_text_file_formats_are_read(tmp_path, content):
    path = tmp_path / "data.csv"
    path.write_text(content, newline="")
    problem = problems.load_problem(path)
    x, y, dy, d2y = np.array(ROWS).T
    np.testing.assert_array_equal(problem.x, x)
    np.testing.assert_array_equal(problem.exact, (y, dy, d2y))
    np.testing.assert_array_equal(problem.draw(0), (x, y))
    assert problem.x_scale == (55.0, 55.0)


def test_text_file_in_utf_16_is_read(tmp_path):
    (tmp_path / "data.txt").write_text(text(), encoding="utf-16")
    assert len(problems.load_problem(tmp_path / "data.txt").x) == 12


WRONG_TEXT_FILES = [
    (text(head="x,z,dy,d2y"), "must name x .*; received 'x, z, dy, d2y'"),
    ("time;angle\n0;1\n", "must name x .*; received 'time, angle'"),
    ("", "is empty"),
    ("# nothing\n\n", "is empty"),
    (text(head=""), "must name x"),
    (text(head="x,y,Y,d2y"), "each once; received 'x, y, y, d2y'"),
    (text(head="x, X ,dy,y"), "each once; received 'x, x, dy, y'"),
    (text().replace("20,", "twenty,"), "line 4: x must be .* received 'twenty'"),
    (text().replace("20,4,", "20,nan,"), "line 4: y must be a finite number"),
    (text().replace("20,4,", "20,,"), "line 4: y must be .* received ''"),
    (text().replace("20,4,", "20,1e999,"), "line 4: y must be a finite number"),
    (text().replace("20,4,", "20,4_0,"), "line 4: y must be .* received '4_0'"),
    (text().replace("20,4,", "20,0x4,"), "line 4: y must be .* received '0x4'"),
    (text().replace("20,4,", "20,\u0664,"), "line 4: y must be a finite number"),
    (text().replace("110,121,2.2,0.02", "110"), "line 13: 1 field .* names 4 columns"),
    (text().replace("20,4,", "20,4,4,"), "line 4: 5 fields .* Decimal commas"),
    (text().replace("30,", "# why\n\n30,,"), "line 7: 5 fields"),
    ("x,y\n" + "-0,895,1,051\n" * 12, "line 2: 4 fields .* names 2 .*Decimal commas"),
    ("x;y\n" + "-0,895;1,051\n" * 12, "line 2: x must be .*'-0,895'. Decimal commas"),
    ("x y\n" + "-0,895 1,051\n" * 12, "line 2: x must be .*'-0,895'. Decimal commas"),
    ("x,y\n1,2\n3,4\n", "2 different x; at least 10"),
    ("x,y\n" + "1,2\n" * 12, "1 different x"),
    ("1,2\n" * 12, "must name x"),
    ("x,y\n" + "1" * 200_000 + ",2\n", "bad.csv: field larger than field limit"),
    ("x" * 200 + ",y\n", r"received 'x{80}\.\.\.'\."),
    ("x,y\n" + "1" * 400 + ",2\n", r"line 2: x must .* received '1{80}\.\.\.'\."),
]


@pytest.mark.parametrize(("content", "message"), WRONG_TEXT_FILES)
def test_wrong_or_ambiguous_text_files_raise(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        problems.load_problem(path)


def test_paths_that_are_no_text_files_raise(tmp_path):
    (tmp_path / "bytes.csv").write_bytes(b"x,y\n\xff,1\n")
    with pytest.raises(ValueError, match="no UTF-8 text"):
        problems.load_problem(tmp_path / "bytes.csv")
    for path in (tmp_path, "/dev/null"):
        with pytest.raises(ValueError, match="expected a regular file"):
            problems.load_problem(path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(
        ValueError, match="expected a regular file"
    ):  # It would block for ever.
        problems.load_problem(tmp_path / "fifo")
    with pytest.raises(ValueError, match="Cannot read missing.csv: No such file"):
        problems.load_problem("missing.csv")


def test_unknown_name_raises_with_a_suggestion():
    with pytest.raises(
        ValueError, match="no problem named 'gausian'.*Did you mean gaussian"
    ):
        problems.load_problem("gausian")


# Arrays.


@pytest.mark.parametrize("number", [2, 3, 4])
def test_arrays_in_all_forms_are_equal(number):
    columns = [np.array(column) for column in zip(*ROWS[::-1])][:number]
    names = ("x", "y", "dy", "d2y")[:number]
    forms = [
        tuple(columns),
        [column.tolist() for column in columns],
        tuple(column[:, None] for column in columns),
        dict(zip(names, columns)),
    ]
    first, *others = map(problems.load_problem, forms)
    assert (first.exact[1] is None, first.exact[2] is None) == (number < 3, number < 4)
    for other in others:
        assert other.digest() == first.digest()
        np.testing.assert_array_equal(other.draw(5), first.draw(0))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (None, TypeError, "problem must be a name, the path of a file, a function"),
        (3.0, TypeError, "problem must be a name"),
        ((np.arange(12.0),), ValueError, "received 1 of them"),
        ((np.arange(12.0),) * 5, ValueError, "received 5 of them"),
        ({"x": np.arange(12.0)}, ValueError, "must have x, y and optionally"),
        ({"x": [1], "y": [1], "z": [1]}, ValueError, "must have x, y and optionally"),
        ((np.arange(12.0), np.arange(13.0)), ValueError, "of one length.*12.*13"),
        ((np.ones((12, 2)), np.arange(12.0)), ValueError, r"x must be of shape \(n,\)"),
        ((np.arange(12.0), np.arange(12.0) * 1j), TypeError, "y must hold real numbers"),
        ((np.arange(12.0), ["a"] * 12), TypeError, "y must hold real numbers"),
        ((np.arange(12.0), [None] * 12), TypeError, "y must hold real numbers"),
        ((np.arange(12.0), [1.0, [2.0]] * 6), ValueError, "y cannot be made an array"),
        (
            (np.arange(12.0), [np.nan] * 12),
            ValueError,
            "y must be below .* received nan: choose other units",
        ),
        ((np.arange(3.0),) * 2, ValueError, "3 different x"),
        ((np.ones(12), np.arange(12.0)), ValueError, "1 different x"),
        ((np.arange(12.0), np.arange(12.0) * 1e300), ValueError, "y must be below 1e.100"),
        (([0.0, 1.0] * 6, np.arange(12.0)), ValueError, "2 different x; at least 10"),
    ],
)
def test_wrong_arrays_raise(source, error, message):
    with pytest.raises(error, match=message):
        problems.load_problem(source)


@pytest.mark.parametrize("num_points", [10, 12, 13, 40])
def test_points_are_held_out_without_known_derivatives(num_points):
    x = np.linspace(0.0, 1.0, num_points)
    problem = problems.load_problem((x, x**2))
    trained = problem.draw(0)[0]
    assert sorted([*trained, *problem.x]) == list(x)
    # Every fifth point, and not the first or last.
    assert trained[0] == 0.0 and trained[-1] == 1.0
    assert len(problem.x) == num_points // 5 + (num_points % 5 == 4)
    np.testing.assert_array_equal(problem.exact[0], problem.x**2)
    with_derivative = problems.load_problem((x, x**2, 2 * x))
    np.testing.assert_array_equal(with_derivative.draw(0)[0], with_derivative.x)


def test_held_out_points_are_not_in_the_training_data():
    x = np.repeat(np.linspace(0.0, 1.0, 12), [1, 2, 3] * 4)
    problem = problems.load_problem((x, np.sin(99.0 * np.arange(24.0))))
    trained = problem.draw(0)[0]
    assert not np.isin(problem.x, trained).any()
    assert sorted([*trained, *problem.x]) == list(x)
    assert trained[0] == 0.0 and trained[-1] == 1.0


LINE = np.linspace(-1.0, 1.0, 40)


@pytest.mark.parametrize(
    ("x", "y", "dtype", "message"),
    [
        # Timestamps, and a small signal on a large one.
        (1.7e9 + LINE, LINE, "float32", "between x = 16999999.* or use float64"),
        (
            1e9 + 1e-6 * LINE,
            LINE,
            "float64",
            "between x = .* Subtract a constant from x[.]",
        ),
        (LINE, 1e5 + LINE, "float32", "float32 has too few numbers between y"),
        (LINE, 1.0 + 1e-14 * LINE, "float64", "float64 has too few numbers between y"),
        # Units in which derivatives are out of range of the dtype.
        (1e-16 * LINE, LINE, "float32", "y'' is of the size .*e.31; in float32"),
        (1e-31 * LINE, LINE, "float32", "y' is of the size"),
        (LINE, 1e-31 * LINE, "float32", "y is of the size"),
        (1e-60 * LINE, LINE, "float64", "y'' is of the size .*e.119; in float64"),
        (1e60 * LINE, LINE, "float64", "y'' is of the size .*e-12"),
        (LINE, 1e-120 * LINE, "float64", "y is of the size"),
        (1e-310 * LINE, LINE, "float64", "y' is of the size inf"),
    ],
)
def test_data_beyond_the_precision_of_the_dtype_raise(x, y, dtype, message):
    with pytest.raises(ValueError, match=message):
        keras_smooth.compare(["tanh"], problem=(x, y), dtype=dtype)


@pytest.mark.parametrize(
    ("x", "y", "dtype"),
    [
        (1.7e9 + LINE, 1e6 + LINE, "float64"),
        (1e3 + LINE, 1e3 + LINE, "float32"),
        (1e-45 * LINE, LINE, "float64"),
        (1e-14 * LINE, LINE, "float32"),
        (LINE, 0.0 * LINE, "float32"),
    ],
)
def test_data_within_the_precision_of_the_dtype_are_accepted(x, y, dtype):
    problems.check_precision(problems.load_problems((x, y)), [dtype])


@pytest.mark.parametrize("name", options.PROBLEMS)
def test_exact_problems_are_within_the_precision_of_all_dtypes(name):
    problems.check_precision(problems.load_problems(name), DTYPES)


def test_digests_of_different_data_differ():
    x = np.linspace(0.0, 1.0, 12)
    data = [(x, x**2), (x, x**2, 2 * x), (x, x**3), (x + 1, x**2), "sine", "runge"]
    assert len({problems.load_problem(source).digest() for source in data}) == len(data)
    held_out = np.where(np.arange(12) == 2, 7.0, x**2)  # A held-out point.
    assert (
        problems.load_problem((x, held_out)).digest()
        != problems.load_problem((x, x**2)).digest()
    )
