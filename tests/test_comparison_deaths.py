"""Workers that die: their runs are repeated once, and the other runs are finished."""

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

ONE_RUN = {"activations": ["tanh"], "seeds": 1, "architecture": "1x2"}
RESULTS = made_up({"tanh": [1e-3] * 2, "elu": [1e-2] * 2})


def finished(run):
    record = RESULTS.records[run]
    errors_of_run = errors(RESULTS.problem, record.curves)
    return Finished(
        run,
        dataclasses.replace(record, run=dataclasses.replace(record.run, **errors_of_run)),
    )


@dataclasses.dataclass
class Death:
    """A run that kills its worker a number of times."""

    activation: str
    seed: int
    times: int

    def strikes(self, run):
        if (run.activation, run.seed) != (self.activation, self.seed) or not self.times:
            return False
        self.times -= 1
        return True


@pytest.fixture
def dying_workers(monkeypatch):
    """Workers that finish every run immediately, or die."""

    def prepare(*deaths):
        workers = []

        class Worker(worker_processes._Worker):
            def __init__(self, _, events):
                self._events = events
                self.left = collections.deque()
                workers.append(self)

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
        return workers

    return prepare


PROGRAMS = [[key_of(name, seed) for seed in (0, 1)] for name in ("tanh", "elu")]
ALL_RUNS = [("elu", 0), ("elu", 1), ("tanh", 0), ("tanh", 1)]


def finished_and_died(jobs):
    events = []
    executors.chosen_executor(jobs).execute(None, PROGRAMS, events.append)
    runs = [event.record.run for event in events if isinstance(event, Finished)]
    deaths = [event for event in events if isinstance(event, Died)]
    return (
        sorted((run.activation, run.seed) for run in runs),
        [(death.run.activation, death.run.seed, death.again) for death in deaths],
    )


@pytest.mark.parametrize(("jobs", "num_workers"), [(1, 1), (3, 3), (9, 4)])
def test_runs_of_one_activation_are_shared_among_workers(dying_workers, jobs, num_workers):
    workers = dying_workers()
    assert finished_and_died(jobs) == (ALL_RUNS, []) and len(workers) == num_workers


def test_worker_finishes_its_program_before_it_helps_others(dying_workers, monkeypatch):
    workers, sent = dying_workers(), []

    def send(worker, run):
        worker.run = run
        sent.append((workers.index(worker), run.activation, run.seed))
        # The first is slow: it ends its run when the second has begun its third.
        if len(workers) == 2:
            worker._events.put((worker, Finished(run, None)))
        if len(sent) == 4:
            worker._events.put((workers[0], Finished(workers[0].run, None)))

    monkeypatch.setattr(worker_processes._Worker, "send", send)
    programs = [[key_of("tanh", seed) for seed in range(3)], PROGRAMS[1]]
    executors.chosen_executor(2).execute(None, programs, print)
    assert sent == [
        (0, "tanh", 0), (1, "elu", 0), (1, "elu", 1), (1, "tanh", 1), (1, "tanh", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_run_whose_worker_dies_once_is_repeated(dying_workers, jobs):
    dying_workers(Death("tanh", 0, times=1))
    assert finished_and_died(jobs) == (ALL_RUNS, [("tanh", 0, True)])


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("activation", "seed"), ALL_RUNS)
def test_run_whose_worker_dies_twice_fails_and_others_finish(
    dying_workers, jobs, activation, seed
):
    dying_workers(Death(activation, seed, times=9))
    runs = [run for run in ALL_RUNS if run != (activation, seed)]
    assert finished_and_died(jobs) == (
        runs,
        [(activation, seed, True), (activation, seed, False)],
    )


def test_all_runs_may_fail(dying_workers):
    dying_workers(*(Death(*run, times=9) for run in ALL_RUNS))
    runs, deaths = finished_and_died(jobs=2)
    assert runs == [] and len(deaths) == 8


@pytest.mark.parametrize(
    ("commands", "message"),
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
def test_error_has_the_cause_of_death_of_a_worker(monkeypatch, tmp_path, commands, message):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{commands}\n")
    program.chmod(0o755)
    monkeypatch.setattr(worker_processes.sys, "executable", str(program))
    with pytest.raises(
        RuntimeError,
        match=f"tanh, seed 0 .gaussian, .*, gauss_newton. has failed: .*{message}",
    ):
        keras_smooth.compare(**ONE_RUN, epochs=5, jobs=1)


def test_failed_runs_warn_and_are_resumed(dying_workers, tmp_path):
    dying_workers(Death("tanh", 1, times=2))
    options = {"activations": ["tanh", "elu"], "seeds": 2, "out": tmp_path, "jobs": 2}
    with pytest.warns(RuntimeWarning, match="tanh, seed 1 .* has failed: it was killed."):
        result = keras_smooth.compare(**options)
    assert len(result.runs) == 3 and len(result.failures) == 1
    counts = {line.activation: (line.failures, line.seeds) for line in result.summary}
    assert counts == {"tanh": (1, 2), "elu": (0, 2)}
    (reason,) = json.loads((tmp_path / store.RESULTS).read_text())["failed"]
    assert "tanh, seed 1" in reason
    for report in (pages.as_markdown(result.results), pages.as_html(result.results)):
        assert "tanh, seed 1 (gaussian, float64, default, gauss" in report
    received = []
    resumed = keras_smooth.compare(**options, resume=True, handle=received.append)
    assert [(event.record.run.activation, event.run.seed) for event in received] == [
        ("tanh", 1)
    ]
    assert len(resumed.runs) == 4 and resumed.failures == []


@pytest.mark.parametrize(("times", "status"), [(1, 0), (2, 1)])
def test_exit_status_is_1_if_a_run_failed(
    dying_workers, capsys, monkeypatch, tmp_path, times, status
):
    dying_workers(Death("elu", 0, times))
    # The report takes seconds and is not tested here.
    monkeypatch.setattr(comparing.Comparison, "save", lambda *_: None)
    arguments = ["--activations", "tanh,elu", "--seeds", "2", "--baselines", "--jobs", "2"]
    assert cli.main(["compare", *arguments, "--out", str(tmp_path)]) == status
    captured = capsys.readouterr()
    assert (
        "run of elu, seed 0 (gaussian, float64, default, gauss_newton) is tried once more: it was killed."
        in captured.out
    )
    assert ("Failed: 1 of 4 runs. Try again with" in captured.err) == bool(status)
    assert (f"--resume --out {tmp_path}" in captured.err) == bool(status)
    assert (tmp_path / store.RESULTS).exists()


FRAMES = """Traceback (most recent call last):
  File "<string>", line 1, in <module>
  File "layer.py", line 7, in call
    return x * scale
           ^^^^^^^^^
"""
MESSAGES = {
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


@pytest.mark.parametrize("case", MESSAGES)
def test_last_message_of_a_worker_is_extracted(case):
    stderr, expected = MESSAGES[case]
    assert worker_processes.last_message(stderr) == expected
