"""Workers that die: their runs are tried once more, and the others go on."""

import collections
import dataclasses
import json

import pytest

import keras_smooth
from keras_smooth import cli
from keras_smooth.comparison import comparing, executors
from keras_smooth.comparison.executors import worker_processes
from keras_smooth.comparison.records import store
from keras_smooth.comparison.report import pages
from keras_smooth.comparison.runs.events import Died, Finished
from keras_smooth.comparison.runs.experiment import errors
from tests.made_up_comparison import key_of, made_up

ONE = {"activations": ["tanh"], "seeds": 1, "architecture": "1x2"}
MADE_UP = made_up({"tanh": [1e-3] * 2, "elu": [1e-2] * 2})


def finished(run):
    one = MADE_UP.records[run]
    known = errors(MADE_UP.problem, one.curves)
    return Finished(
        run,
        dataclasses.replace(one, run=dataclasses.replace(one.run, **known)),
    )


@dataclasses.dataclass
class Death:
    """A run that kills its worker so many times."""

    activation: str
    seed: int
    times: int

    def strikes(self, run):
        if (run.activation, run.seed) != (self.activation, self.seed) or not self.times:
            return False
        self.times -= 1
        return True


@pytest.fixture
def deadly(monkeypatch):
    """Workers that finish every run at once, or die of it."""

    def prepare(*deaths):
        begun = []

        class Worker(worker_processes._Worker):
            def __init__(self, _, events):
                self._events = events
                self.left = collections.deque()
                begun.append(self)

            def send(self, run):
                self.run = run
                if any(death.strikes(run) for death in deaths):
                    self._events.put((self, None))
                    return
                self._events.put((self, finished(run)))

            def failure_message(self):
                return "it was killed."

            def stop(self):
                pass

        monkeypatch.setattr(worker_processes, "_Worker", Worker)
        return begun

    return prepare


PROGRAMS = [[key_of(name, seed) for seed in (0, 1)] for name in ("tanh", "elu")]
ALL = [("elu", 0), ("elu", 1), ("tanh", 0), ("tanh", 1)]


def heard(jobs):
    events = []
    executors.chosen_executor(jobs).execute(None, PROGRAMS, events.append)
    runs = [event.record.run for event in events if isinstance(event, Finished)]
    deaths = [event for event in events if isinstance(event, Died)]
    return (
        sorted((run.activation, run.seed) for run in runs),
        [(death.run.activation, death.run.seed, death.again) for death in deaths],
    )


@pytest.mark.parametrize(("jobs", "num_workers"), [(1, 1), (3, 3), (9, 4)])
def test_the_runs_of_one_activation_are_shared_among_workers(deadly, jobs, num_workers):
    begun = deadly()
    assert heard(jobs) == (ALL, []) and len(begun) == num_workers


def test_a_worker_stays_with_its_program_then_begins_another_then_helps(
    deadly, monkeypatch
):
    begun, sent = deadly(), []

    def send(worker, run):
        worker.run = run
        sent.append((begun.index(worker), run.activation, run.seed))
        # The first takes long: it ends its run when the other has begun its third.
        if len(begun) == 2:
            worker._events.put((worker, Finished(run, None)))
        if len(sent) == 4:
            worker._events.put((begun[0], Finished(begun[0].run, None)))

    monkeypatch.setattr(worker_processes._Worker, "send", send)
    programs = [[key_of("tanh", seed) for seed in range(3)], PROGRAMS[1]]
    executors.chosen_executor(2).execute(None, programs, print)
    assert sent == [
        (0, "tanh", 0), (1, "elu", 0), (1, "elu", 1), (1, "tanh", 1), (1, "tanh", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_a_run_that_lost_its_worker_is_tried_once_more(deadly, jobs):
    deadly(Death("tanh", 0, times=1))
    assert heard(jobs) == (ALL, [("tanh", 0, True)])


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("activation", "seed"), ALL)
def test_a_run_that_lost_two_has_failed_and_the_others_go_on(
    deadly, jobs, activation, seed
):
    deadly(Death(activation, seed, times=9))
    runs = [run for run in ALL if run != (activation, seed)]
    assert heard(jobs) == (runs, [(activation, seed, True), (activation, seed, False)])


def test_all_runs_can_fail(deadly):
    deadly(*(Death(*run, times=9) for run in ALL))
    runs, deaths = heard(jobs=2)
    assert runs == [] and len(deaths) == 8


@pytest.mark.parametrize(
    ("dies", "words"),
    [
        (
            "kill -9 $$",
            "was killed .SIGKILL., by somebody or by the system for want of mem",
        ),
        ("echo all is lost >&2; kill -6 $$", "died of SIGABRT and said last: all is lost"),
        ("echo first; echo last >&2; exit 3", "with exit status 3 and said last: last"),
        ("exit 0", "with exit status 0 and said last: nothing"),
    ],
)
def test_what_a_worker_died_of_is_said(monkeypatch, tmp_path, dies, words):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{dies}\n")
    program.chmod(0o755)
    monkeypatch.setattr(worker_processes.sys, "executable", str(program))
    with pytest.raises(
        RuntimeError,
        match=f"tanh, seed 0 .gaussian, .*, gauss_newton. has failed: .*{words}",
    ):
        keras_smooth.compare(**ONE, epochs=5, jobs=1)


def test_failed_runs_are_warned_of_and_resumed(deadly, tmp_path):
    deadly(Death("tanh", 1, times=2))
    asked = {"activations": ["tanh", "elu"], "seeds": 2, "out": tmp_path, "jobs": 2}
    with pytest.warns(RuntimeWarning, match="tanh, seed 1 .* has failed: it was killed."):
        found = keras_smooth.compare(**asked)
    assert len(found.runs) == 3 and len(found.failures) == 1
    counts = {line.activation: (line.failures, line.seeds) for line in found.summary}
    assert counts == {"tanh": (1, 2), "elu": (0, 2)}
    (reason,) = json.loads((tmp_path / store.RESULTS).read_text())["failed"]
    assert "tanh, seed 1" in reason
    for report in (pages.as_markdown(found.results), pages.as_html(found.results)):
        assert "tanh, seed 1 (gaussian, float64, default, gauss" in report
    asked_for = []
    again = keras_smooth.compare(**asked, resume=True, handle=asked_for.append)
    assert [(one.record.run.activation, one.run.seed) for one in asked_for] == [("tanh", 1)]
    assert len(again.runs) == 4 and again.failures == []


@pytest.mark.parametrize(("times", "status"), [(1, 0), (2, 1)])
def test_the_exit_status_says_whether_a_run_failed(
    deadly, capsys, monkeypatch, tmp_path, times, status
):
    deadly(Death("elu", 0, times))
    # The report, which takes seconds, is not what is asked for here.
    monkeypatch.setattr(comparing.Comparison, "save", lambda *_: None)
    arguments = ["--activations", "tanh,elu", "--seeds", "2", "--baselines", "--jobs", "2"]
    assert cli.main(["compare", *arguments, "--out", str(tmp_path)]) == status
    shown = capsys.readouterr()
    assert (
        "run of elu, seed 0 (gaussian, float64, default, gauss_newton) is tried once more: it was killed."
        in shown.out
    )
    assert ("Failed: 1 of 4 runs" in shown.err) == bool(status)
    assert (f"--resume --out {tmp_path}" in shown.err) == bool(status)
    assert (tmp_path / store.RESULTS).exists()


FRAMES = """Traceback (most recent call last):
  File "<string>", line 1, in <module>
  File "layer.py", line 7, in call
    return x * scale
           ^^^^^^^^^
"""
WORDS = {
    "nothing": ("", ""),
    "lines": ("one\n  two \n\n", "two"),
    "an exception": (
        f"before\n{FRAMES}ValueError: no such thing\n",
        "ValueError: no such thing",
    ),
    "one of Keras": (
        f"{FRAMES}OverflowError: Exception encountered when calling Rescaling.call().\n\n"
        "\x1b[1mPython float too large.\x1b[0m\n\nArguments received by Rescaling.call():\n"
        "  • inputs=tf.Tensor(shape=(6, 1), dtype=float64)\n",
        "OverflowError: Exception encountered when calling Rescaling.call(). Python float too "
        "large.",
    ),
    "one during another": (
        f"{FRAMES}KeyError: 'a'\n\nDuring handling of the above exception, another exception "
        f"occurred:\n\n{FRAMES}TypeError: b\n",
        "TypeError: b",
    ),
}


@pytest.mark.parametrize("case", WORDS)
def test_last_words_of_a_worker(case):
    said, words = WORDS[case]
    assert worker_processes.last_message(said) == words
