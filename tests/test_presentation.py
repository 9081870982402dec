"""Results as text and in notebooks: repr, tables, charts."""

import copy
import html.parser
import io
import pickle
import sys
import types
import xml.etree.ElementTree
from pathlib import Path

import keras
import made_up_comparison
import numpy as np
import pytest

import keras_smooth
from keras_smooth.auditing import pictures
from keras_smooth.auditing.findings import Cause
from keras_smooth.presentation import svg
from keras_smooth.presentation.tables import ShownAsTable, Table, Tone

ROOT = Path(__file__).parents[1]
X = np.linspace(-1.0, 1.0, 5)[:, None]
TEXT_WITH_MARKUP = "<script>alert('&')</script>\x1b[31m"


class ParsedPage(html.parser.HTMLParser):
    """The cells of tables on a page; checks that tags are nested correctly."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.rows, self.styles = [], set(), [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.styles += [value for name, value in attrs if name == "style"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data


def network(**arguments):
    model = keras.Sequential([keras.Input((1,), dtype="float64")], **arguments)
    model.add(keras_smooth.Dense(3, "tanh", dtype="float64", name="hidden"))
    model.add(keras_smooth.Dense(1, dtype="float64", name="output"))
    model.compile(loss="mse")
    return model


def monitor(num_epochs):
    callback = keras_smooth.DerivativeMonitor(X, keras.ops.square)
    callback.set_model(network())
    callback.on_train_begin()
    for epoch in range(num_epochs):
        callback.on_epoch_end(epoch)
    return callback


TARGET = keras_smooth.Status.TARGET
RESULTS = {
    "audit": (
        lambda: keras_smooth.audit(network(), X),
        "<Audit: up to order 2, inference: proven and training: proven; "
        "fine: 2 of 2 layers>",
        ["hidden and 1 more", "Dense", "inf", "proven", "proven"],
    ),
    "verification": (
        lambda: (
            keras_smooth.derivatives(
                keras.ops.sin, X, verify=True, engine="tape"
            ).verification
        ),
        "<Verification: engine 'tape' against values of the model, 5 points, float64: y to ",
        ["y", "8.4e-01"],
    ),
    "comparison": (
        lambda: keras_smooth.Comparison(
            made_up_comparison.made_up({"relu": [0.5, 0.7], "tanh": [0.1, 0.3]})
        ),
        "<Comparison: 4 runs of relu, tanh on gaussian by gauss_newton>",
        ["tanh", "C^inf", "1.0e-09", "1.0e-09", "2.0e-01", "0 of 2"],
    ),
    "result": (
        lambda: keras_smooth.OptimizeResult(
            True, TARGET, TARGET.message, 1.25e-10, 3e-7, 12, 15, 0
        ),
        "OptimizeResult(success=True, status=<Status.TARGET: 6>, ",
        ["status", "6 (TARGET)"],
    ),
    "monitor": (
        lambda: monitor(2),
        "<DerivativeMonitor of y_mse, dy_mse, d2y_mse: 5 points, 2 measurements>",
        ["d2y_mse"],
    ),
    "monitor before": (
        lambda: monitor(0),
        "<DerivativeMonitor of y_mse, dy_mse, d2y_mse: 5 points, 0 measurements>",
        ["error", "first", "last", "least", "of epoch"],
    ),
    "history": (
        lambda: keras_smooth.fit_lbfgs(network(), X, X**2, epochs=3, verbose=0),
        "<History of 1 log at 3 epochs: The iteration limit was reached",
        ["status", "1 (ITERATION_LIMIT)"],
    ),
    "plan": (
        lambda: keras_smooth.plan(keras.ops.sin, X, ["xx"], names="x"),
        "<Plan: xx: engine ",
        ["x", "2", "1"],
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_have_repr_html_and_text(name):
    make, line, row = RESULTS[name]
    result = make()
    assert repr(result).startswith(line) and "\n" not in repr(result)
    page = ParsedPage(result._repr_html_())
    assert row in [cells[: len(row)] for cells in page.rows]
    # The text has the same cells, in the same lines.
    lines = [line.split() for line in str(result).splitlines()]
    for cells in page.rows:
        assert " ".join(cells).split() in lines


def test_markup_in_cells_is_escaped():
    page = ParsedPage(
        Table(("a",), [(TEXT_WITH_MARKUP,)], TEXT_WITH_MARKUP, [TEXT_WITH_MARKUP]).html()
    )
    assert "script" not in page.tags and not page.open
    assert page.rows[-1] == [TEXT_WITH_MARKUP.replace("\x1b", "?")]
    assert (
        "\x1b"
        not in Table(
            ("a",), [(TEXT_WITH_MARKUP,)], TEXT_WITH_MARKUP, [TEXT_WITH_MARKUP]
        ).text()
    )


def test_markup_in_layer_names_is_escaped():
    model = network()
    model.layers[0]._name = TEXT_WITH_MARKUP
    report = keras_smooth.audit(model, X)
    assert "<script" not in report._repr_html_() and "\x1b" not in str(report)


def test_tables_set_no_colors():
    """Tables have the colors of the page, so that they are legible on light and dark pages."""
    page = ParsedPage(Table(("a", "b"), [("1", "2")], "title", ["note"]).html())
    properties = {
        style.split(":")[0]
        for declarations in page.styles
        for style in declarations.split("; ")
    }
    assert properties == {"text-align", "white-space", "overflow-x"}
    assert "style" not in page.tags


@pytest.mark.parametrize("tone", Tone)
def test_contrast_of_colored_cells_meets_wcag(tone):
    page = ParsedPage(Table(("a", "b"), [("1", "faulty")], tones={"faulty": tone}).html())
    (style,) = [style for style in page.styles if "color: #fff" in style]
    background = tone.value.background
    assert f"background: {background}" in style
    channels = [int(background[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in channels
    ]
    luminance = np.dot([0.2126, 0.7152, 0.0722], linear)
    # The contrast that WCAG 2 requires for text, level AA; white has the luminance 1.
    assert 1.05 / (luminance + 0.05) >= 4.5


class Broken(ShownAsTable):
    """A result that cannot be shown as a table, or has no pictures."""

    def __init__(self, has_table):
        self.has_table = has_table

    def __repr__(self):
        return "<Broken>"

    def _table(self):
        return Table(("a",), [("1",)]) if self.has_table else 1 / 0

    def _pictures(self):
        raise ValueError("no model")


def test_show_never_raises(capsys, monkeypatch):
    assert str(Broken(has_table=False)) == "<Broken>"
    assert Broken(has_table=False)._repr_html_() is None
    assert ParsedPage(Broken(has_table=True)._repr_html_()).rows == [["a"], ["1"]]
    Broken(has_table=False).show()
    assert capsys.readouterr().out == "<Broken>\n"


def terminal(encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    file.isatty = lambda: True
    return file


@pytest.mark.parametrize(
    ("environment", "is_terminal", "is_colored"),
    [({}, True, True), ({}, False, False), ({"NO_COLOR": "1"}, True, False),
     ({"TERM": "dumb"}, True, False)],
)  # fmt: skip
def test_show_uses_colors_only_in_a_color_terminal(
    monkeypatch, environment, is_terminal, is_colored
):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    file = terminal()
    file.isatty = lambda: is_terminal
    result = RESULTS["result"][0]()
    monkeypatch.setattr(sys, "stdout", file)
    result.show()
    file.seek(0)
    output = file.read()
    assert ("\x1b[32m6 (TARGET)\x1b[0m" in output) == is_colored
    # Colors do not shift columns.
    for code in ("\x1b[32m", "\x1b[0m"):
        output = output.replace(code, "")
    assert output == f"{result}\n"


def test_show_escapes_characters_outside_the_encoding(monkeypatch):
    file = terminal("ascii")
    result = Broken(has_table=True)
    result._table = lambda: Table(("a",), [("\u03b1",)])
    monkeypatch.setattr(sys, "stdout", file)
    result.show()
    file.seek(0)
    assert file.read().splitlines()[-1] == "\\u03b1"


def test_show_displays_in_a_notebook(monkeypatch, capsys):
    displayed = []
    notebook = types.SimpleNamespace(
        get_ipython=lambda: types.SimpleNamespace(kernel="a kernel"),
        display=types.SimpleNamespace(display=displayed.append),
    )
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    result = Broken(has_table=True)
    result.show()
    assert displayed == [result] and capsys.readouterr().out == ""


# Charts.

CURVES = {
    "plain": ([0.0, 1.0, 2.0], [3.0, 1.0, 2.0], 1),
    "with a gap": ([0.0, 1.0, 2.0, 3.0, 4.0], [3.0, 1.0, np.nan, 2.0, 0.5], 2),
    "flat": ([0.0, 1.0], [5.0, 5.0], 1),
    "a point": ([7.0], [5.0], 1),
    "with lost values": ([0.0, 1.0, 2.0], [None, 1.0, 2.0], 1),
}


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("name", CURVES)
def test_curves_and_labels_are_inside_the_chart(name, logarithmic):
    x, y, num_pieces = CURVES[name]
    picture = xml.etree.ElementTree.fromstring(
        svg.chart("title", {"curve": svg.Curve(x, y)}, "x", logarithmic)
    )
    width, height = map(float, picture.get("viewBox").split()[2:])
    (line,) = [
        element
        for element in picture
        if element.get("stroke") == svg.COLORS[0] and element.get("fill")
    ]
    assert line.get("d").count("M") == num_pieces
    points = [
        tuple(map(float, point.split()))
        for point in line.get("d").replace("L", "M").split("M")[1:]
    ]
    assert all(0 <= a <= width and 0 <= b <= height for a, b in points)
    # Larger values are drawn higher.
    finite = [value for value in y if value is not None and not np.isnan(value)]
    assert np.array_equal(np.argsort([-b for _, b in points]), np.argsort(finite))
    # Letters of 11 pixels are at most 7 pixels wide.
    for text in (element for element in picture if element.tag.endswith("text")):
        anchor, text_width = float(text.get("x")), 7 * len(text.text)
        left = (
            anchor
            - text_width
            * {"start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor")]
        )
        assert left >= 0 and left + text_width <= width and float(text.get("y")) <= height


def test_markup_in_chart_labels_is_escaped():
    chart = svg.chart(
        TEXT_WITH_MARKUP,
        {TEXT_WITH_MARKUP: svg.Curve([0, 1], [1, 2])},
        TEXT_WITH_MARKUP,
        False,
    )
    page = ParsedPage(chart)
    assert "script" not in page.tags and "\x1b" not in chart and not page.open


def test_chart_without_finite_values_is_empty():
    assert svg.chart("title", {"a": svg.Curve([0, 1], [np.nan, None])}, "x", False) == ""
    assert svg.chart("title", {"a": svg.Curve([0, 1], [0.0, -1.0])}, "x", True) == ""
    assert svg.chart("title", {}, "x", True) == ""


@pytest.mark.parametrize("name", ["history", "comparison"])
def test_results_with_curves_have_a_chart(name):
    assert "<svg" in RESULTS[name][0]()._repr_html_()


# Tables and pictures of audits.

L = keras.layers


def faulty_model():
    layers = [L.Dense(4, "relu"), L.LayerNormalization(), L.Dense(4, "relu"), L.Dense(1)]
    return keras.Sequential([keras.Input((3,)), *layers])


POINTS = np.random.default_rng(0).normal(size=(9, 3)).astype("float32")


def test_audit_table_has_reasons_and_remedies():
    keras.utils.set_random_seed(0)
    report = keras_smooth.audit(faulty_model(), POINTS)
    lines = str(report).splitlines()
    names = [row.name for row in report.rows]
    (first,) = [line for line in lines if line.startswith(f"{names[0]} and 1 more: ")]
    # The position of samples differs between the two layers and is not in a common line.
    assert "relu has a kink at 0" in first and "one side" not in first
    (second,) = [line for line in lines if line.startswith(f"{names[1]}: ")]
    assert "TensorFlow's own derivative is wrong or missing, from order 2 on" in second
    assert "    To do: keras_smooth.layers.LayerNormalization." in lines
    assert any(line.startswith("See docs/howto/audit_and_repair.md") for line in lines)


def test_audit_has_a_picture_for_each_wrong_layer():
    report = keras_smooth.audit(faulty_model(), POINTS)
    page = report._repr_html_()
    names = [row.name for row in report.rows]
    # One picture for layers with equal findings, none for the model and for right layers.
    assert page.count("<svg") == 2
    assert f"y&#39;&#39; of {names[0]}" in page and f"of {names[1]}" in page
    # If the derivative of a layer is right, there is nothing to draw.
    row = report.rows[3]
    assert report.draw(row) == ""
    for duplicate in (copy.deepcopy(report), pickle.loads(pickle.dumps(report))):
        assert duplicate == report and "<svg" not in duplicate._repr_html_()


def test_layers_without_a_picture_do_not_count():
    right = [L.Dense(4, "tanh"), L.Dropout(0.1), L.Reshape((2, 2)), L.Flatten(), L.Dense(3)]
    model = keras.Sequential([keras.Input((3,)), *right, L.LayerNormalization()])
    assert keras_smooth.audit(model, POINTS)._repr_html_().count("<svg") == 1


def test_large_layer_has_no_picture(monkeypatch):
    monkeypatch.setattr(pictures, "_MAX_NUMBERS", 7)
    # A layer of 3 inputs and 4 outputs is drawn, one of 4 and 4 is not.
    page = keras_smooth.audit(faulty_model(), POINTS)._repr_html_()
    assert page.count("<svg") == 1


def test_picture_that_cannot_be_drawn_is_omitted():
    model = faulty_model()
    report = keras_smooth.audit(model, POINTS)

    def broken(*args, **kwargs):
        raise RuntimeError("not now")

    model.call = broken
    page = report._repr_html_()
    assert "faulty" in page and "<svg" not in page


def test_audit_of_one_layer_has_one_row():
    layer = L.Dense(3, "relu")
    layer.build((None, 3))
    report = keras_smooth.audit(layer, POINTS)
    assert [row[1] for row in ParsedPage(report._repr_html_()).rows] == ["class", "Dense"]
    assert str(report).count("kink at 0") == 1


@pytest.mark.parametrize("cause", [*Cause])
def test_causes_name_existing_pages(cause):
    assert not cause.page or (ROOT / cause.page).exists()
    assert bool(cause.page) == (
        cause.verdict == "faulty" or cause in ("unknown", "mixed", "complex", "text")
    )
