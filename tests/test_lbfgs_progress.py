"""The progress of `fit_lbfgs`: a line that is updated, a few lines in a log, or nothing."""

import re
import sys
import types

import keras
import pytest
from lbfgs_nets import at_start, fit, net

import keras_smooth
from keras_smooth.lbfgs import progress

LINE = re.compile(
    r"(\d+)/40  loss: \d\.\d{4}e[+-]\d\d  gradient: \d\.\de[+-]\d\d  \d+ s(?:, \d+ s left)?"
    r"  evaluations: \d+  mae: \d\S*"
)
LIMIT = keras_smooth.Status.ITERATION_LIMIT.message


def net_with_a_metric():
    return net(metrics=["mae"])


def train(**arguments):
    """Returns the history of a fit with 40 calls of the callbacks."""
    options = {"epochs": 40, "steps_per_execution": 1, "tolerance": 0.0, **arguments}
    return fit(at_start(net_with_a_metric), **options)


def iterations(lines):
    return [int(LINE.fullmatch(line)[1]) for line in lines]


class Terminal:
    """An output that is a terminal or a log, with ASCII characters only."""

    encoding = "utf-8"

    def __init__(self, is_terminal=True):
        self.text, self.is_terminal = "", is_terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return self.is_terminal


class Notebook:
    """IPython with a kernel, which records the contents of its displays."""

    version_info = (9, 0)

    def __init__(self):
        self.displays = []
        self.display = types.SimpleNamespace(display=self._display)

    def get_ipython(self):
        return types.SimpleNamespace(kernel="a kernel")

    def _display(self, shown, raw, display_id):
        assert raw and display_id
        contents = [shown]
        self.displays.append(contents)
        return types.SimpleNamespace(update=lambda shown, raw: contents.append(shown))


@pytest.mark.parametrize(
    ("verbose", "expected"),
    [(0, []), (1, [1, *range(4, 44, 4)]), ("auto", [1, *range(4, 44, 4)]), (2, [*range(1, 41)])],
)  # fmt: skip
def test_log_has_a_limited_number_of_lines(verbose, expected, capsys):
    train(verbose=verbose)
    *lines, end = capsys.readouterr().out.splitlines() or [LIMIT]
    assert iterations(lines) == expected and end == LIMIT


def test_run_that_ends_early_prints_its_last_line(capsys):
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=5)
    history = train(verbose=1, callbacks=[stop])
    *lines, end = capsys.readouterr().out.splitlines()
    assert iterations(lines) == [1, 4, 6] and end == history.result.message


def test_terminal_shows_one_updated_line(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    train(verbose=1)
    before, *written = sys.stdout.text.split("\r")
    assert before == "" and len(written) == 41 and sys.stdout.text.count("\n") == 2
    assert all(len(line) == 59 for line in written[:-1])
    # The last line is complete, for readers who scroll back.
    last, message = written[-1].splitlines()
    assert LINE.fullmatch(last.rstrip())[1] == "40" and message == LIMIT
    assert " left" in sys.stdout.text and " left" not in last


def test_notebook_shows_one_updated_display(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "IPython", notebook := Notebook())
    train(verbose=1)
    ((*shown, last),) = notebook.displays
    assert capsys.readouterr().out == ""
    assert iterations(d["text/plain"] for d in shown) == [*range(1, 41)]
    line, message = last["text/plain"].splitlines()
    assert iterations([line]) == [40] and message == LIMIT
    assert "<script" not in last["text/html"] and LIMIT in last["text/html"]


@pytest.mark.parametrize("fault", ["output", "logs"])
def test_error_in_the_progress_does_not_end_the_fit(monkeypatch, fault):
    broken = Terminal(is_terminal=False)
    if fault == "output":
        broken.write = lambda text: (_ for _ in ()).throw(BrokenPipeError())
    else:
        monkeypatch.setattr(progress.Progress, "_format_line", lambda *_: 1 / 0)
    monkeypatch.setattr(sys, "stdout", broken)
    assert train(verbose=1, epochs=3).result.nit == 3


def test_fit_runs_without_stdout(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert train(verbose=1, epochs=3).result.nit == 3


def test_progbar_logger_of_the_user_replaces_the_progress(capsys):
    train(verbose=2, epochs=2, callbacks=[keras.callbacks.ProgbarLogger()])
    printed = capsys.readouterr().out
    assert "Epoch 2/2" in printed and "gradient" not in printed


def test_remaining_time_is_estimated_without_the_first_call(monkeypatch):
    """The first call compiles, so that its time is not used for the estimate."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    lines = []
    monkeypatch.setattr(
        progress, "_choose_writer", lambda _: lambda *a: lines.append(a[:2])
    )
    best = types.SimpleNamespace(fun=1.0, grad_norm=1.0)
    for max_seconds in (None, 500.0):
        request = types.SimpleNamespace(
            initial_epoch=0, epochs=100, num_iterations=100, max_seconds=max_seconds,
            callbacks=None, verbose=1,
        )  # fmt: skip
        shown = progress.Progress(request)
        for nit, seconds in ((10, 300.0), (20, 310.0), (30, 320.0)):
            clock[0] += seconds - (clock[0] % 1000)
            descent = types.SimpleNamespace(nit=nit, nfev=nit, best=best)
            shown.update(descent, {"loss": 1.0})
        clock[0] += 1000 - (clock[0] % 1000)
    left = [re.search(r"(\S+ \S+), (\S+ \S+) left|$", line)[2] for line, _ in lines]
    assert left == [None, "80 s", "70 s", "3 min", "80 s", "70 s"]
    assert [round(share, 2) for _, share in lines[3:]] == [0.6, 0.62, 0.64]
