"""Results show themselves: one line, a table in print, and the same table in a notebook."""

import html.parser

import keras
import made_up_comparison
import numpy as np
import pytest

import keras_smooth
from keras_smooth.presentation.tables import Table

X = np.linspace(-1.0, 1.0, 5)[:, None]
HOSTILE = "<script>alert('&')</script>\x1b[31m"


class Page(html.parser.HTMLParser):
    """What a browser makes of a page: its cells, and how its tags nest."""

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
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def network(**arguments):
    model = keras.Sequential([keras.Input((1,), dtype="float64")], **arguments)
    model.add(keras_smooth.Dense(3, "tanh", dtype="float64", name="hidden"))
    model.add(keras_smooth.Dense(1, dtype="float64", name="output"))
    model.compile(loss="mse")
    return model


def monitor(num_epochs):
    made = keras_smooth.DerivativeMonitor(X, keras.ops.square)
    made.set_model(network())
    made.on_train_begin()
    for epoch in range(num_epochs):
        made.on_epoch_end(epoch)
    return made


RESULTS = {
    "audit": (
        lambda: keras_smooth.audit(network(), X),
        "<Audit: up to order 2, inference: proven and training: proven; "
        "2 of 2 layers are fine>",
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
        "<Comparison: 4 runs of relu, tanh on gaussian by lbfgs>",
        ["tanh", "C^inf", "1.0e-09", "1.0e-09", "2.0e-01", "0 of 2"],
    ),
    "result": (
        lambda: keras_smooth.OptimizeResult(
            True, 6, keras_smooth.Status(6).message, 1.25e-10, 3e-7, 12, 15, 0
        ),
        "OptimizeResult(success=True, status=6, ",
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
}


@pytest.mark.parametrize("name", RESULTS)
def test_result(name):
    make, line, row = RESULTS[name]
    result = make()
    assert repr(result).startswith(line) and "\n" not in repr(result)
    page = Page(result._repr_html_())
    assert row in [cells[: len(row)] for cells in page.rows]
    # Print has the same cells, in the same lines.
    lines = [line.split() for line in str(result).splitlines()]
    for cells in page.rows:
        assert " ".join(cells).split() in lines


def test_cells_are_text_wherever_they_come_from():
    page = Page(Table(("a",), [(HOSTILE,)], HOSTILE, [HOSTILE]).html())
    assert "script" not in page.tags and not page.open
    assert page.rows[-1] == [HOSTILE.replace("\x1b", "?")]
    assert "\x1b" not in Table(("a",), [(HOSTILE,)], HOSTILE, [HOSTILE]).text()


def test_names_of_layers_are_text():
    model = network()
    model.layers[0]._name = HOSTILE
    found = keras_smooth.audit(model, X)
    assert "<script" not in found._repr_html_() and "\x1b" not in str(found)


def test_colors_are_those_of_the_page():
    """No color is set, so that light and dark pages both can be read."""
    page = Page(Table(("a", "b"), [("1", "2")], "title", ["note"]).html())
    properties = {style.split(":")[0] for all in page.styles for style in all.split("; ")}
    assert properties == {"text-align", "white-space", "overflow-x"}
    assert "style" not in page.tags
