"""Comparisons that are killed, whose files are damaged, and that meet in one directory.

    python tests/killed_comparisons.py kills N | damages N | pairs N

prints a JSON line of counts. What is tried is everything but the training: runs take
milliseconds and their numbers depend on activation, initializer and seed alone, but for their
seconds, which never come again: so a run that was lost, made twice or mixed up is seen.
TensorFlow is imported once, and processes are forks.
"""

import collections
import dataclasses
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_smooth import cli
from keras_smooth.comparison import comparing, problems
from keras_smooth.comparison.executors import worker_processes
from keras_smooth.comparison.records import resuming, store
from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.runs import learning
from keras_smooth.comparison.runs.experiment import Experiment, Record, Run, errors
from keras_smooth.comparison.settings import RunId, Settings

SETTINGS = Settings(activations=("tanh", "sigmoid", "elu"), seeds=3, epochs=40)
PROBLEMS = problems.load_problems(SETTINGS.problem)
(PROBLEM,) = PROBLEMS.values()
COMMAND = ["compare", "--activations", *SETTINGS.activations, "--seeds", "3"]
COMMAND += ["--epochs", "40", "--baselines", "--jobs", "2"]
NUM_RUNS = 12  # sigmoid runs from two starts
WHOM = ("parent", "worker", "both")


def record(of: RunId) -> Record:
    """Returns what a run finds; its curves are off by a number of its own."""
    rng = np.random.default_rng(
        [*of.activation.encode(), *of.variant.initializer.encode(), of.seed]
    )
    curves = tuple(exact + rng.normal() for exact in PROBLEM.exact)
    known = errors(PROBLEM, curves)
    run = Run(
        of.activation, of.seed, True, 1, "made up", rng.uniform(), 40, 44, 0,
        rng.uniform(), **known, seconds=random.SystemRandom().random(),
    )  # fmt: skip
    curve = {name: [0.5, rng.uniform()] for name in learning.COLUMNS}
    return Record(run, curves, {**curve, "iteration": [20, 40]})


def records(self, runs, report):
    for run in runs:
        for iteration in range(0, 40, 4):
            report(run, iteration, 0.5)
            time.sleep(0.02)
        yield run, record(run)


class ForkedWorker:
    """What `subprocess.Popen` is to the executor, as a fork."""

    def __init__(self, command, stderr, **_):
        task, event = os.pipe(), os.pipe()
        self._status = None
        parent, self.pid = os.getpid(), os.fork()
        if self.pid == 0:
            self._work(task, event, stderr, parent)
        os.close(task[0])
        os.close(event[1])
        self.stdin, self.stdout = open(task[1], "wb"), open(event[0], "rb")
        say(str(self.pid))

    def _work(self, task, event, stderr, parent):
        try:
            os.close(task[1])
            os.close(event[0])
            for source, target in ((task[0], 0), (event[1], 1), (stderr.fileno(), 2)):
                os.dup2(source, target)
            sys.stdin, sys.stdout, sys.stderr = (
                open(0, closefd=False),
                open(1, "w", closefd=False),
                open(2, "w", closefd=False),
            )
            worker_processes.main(parent)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            # Never back into what the parent was about to do.
            os._exit(1)

    def kill(self):
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self):
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status


def prepare() -> None:
    """Puts forks and made-up runs where processes and training are; for this process only."""
    Experiment.records = records
    worker_processes.subprocess = type(
        "Forks", (), {"Popen": ForkedWorker, "PIPE": subprocess.PIPE}
    )
    # A fork has TensorFlow's threads already.
    tf.config.threading.set_intra_op_parallelism_threads = lambda number: None
    comparing.report.write = lambda *_: None  # takes seconds


_channel = None


def say(text: str) -> None:
    os.write(_channel, f"{text}\n".encode())


class Command:
    """The command line in a fork, which says what workers it starts and how it ends."""

    def __init__(self, directory: Path, *arguments: str):
        self._reads, writes = os.pipe()
        self._printed = tempfile.TemporaryFile()
        self.pid = os.fork()
        if self.pid == 0:
            global _channel
            _channel = writes
            os.close(self._reads)
            for target in (1, 2):
                os.dup2(self._printed.fileno(), target)
            sys.stdout, sys.stderr = (
                open(1, "w", closefd=False),
                open(2, "w", closefd=False),
            )
            status = cli.main([*COMMAND, *arguments, "--out", str(directory)])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        os.close(writes)

    def workers(self, wait: bool = False) -> list[int]:
        """Returns the processes of workers that it has started since it was asked last."""
        os.set_blocking(self._reads, wait)
        try:
            return [int(pid) for pid in os.read(self._reads, 4096).split()]
        except BlockingIOError:
            return []

    def end(self) -> tuple[int, str]:
        """Waits for the end of it and of its workers; returns status and what it printed."""
        _, status = os.waitpid(self.pid, 0)
        os.set_blocking(self._reads, True)
        # All that it started hold the other end.
        while os.read(self._reads, 4096):
            pass
        os.close(self._reads)
        self._printed.seek(0)
        return os.waitstatus_to_exitcode(status), self._printed.read().decode()


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # It is done.


def stored(directory: Path) -> dict:
    """Returns the runs that are in the files, by their keys."""
    return resuming.read(SETTINGS, PROBLEMS, directory).records


def wrong(found: dict) -> int:
    """Returns how many outcomes are not what their runs find."""
    return sum(not same(found[run], record(run)) for run in found)


def same(one: Record, other: Record, seconds: bool = False) -> bool:
    runs = [one.run, other.run]
    if not seconds:
        runs = [dataclasses.replace(run, seconds=0.0) for run in runs]
    return (
        runs[0] == runs[1]
        and one.learning == other.learning
        and all(map(np.array_equal, one.curves, other.curves))
    )


def kills(number: int) -> dict:
    """Comparisons that are killed until they are complete all the same."""
    rng, counts = random.Random(0), collections.Counter()
    slowest = 0.0
    while counts["kills"] < number:
        with tempfile.TemporaryDirectory() as directory:
            path, before = Path(directory), {}
            while len(before) < NUM_RUNS:
                command = Command(path, "--resume")
                workers = command.workers(wait=rng.random() < 0.9)
                time.sleep(rng.uniform(0.0, 1.0))
                whom, workers = rng.choice(WHOM), workers + command.workers()
                kill(chosen(whom, command.pid, workers, rng))
                killed = time.monotonic()
                status, printed = command.end()
                if whom != "worker":
                    slowest = max(slowest, time.monotonic() - killed)
                after = stored(path)
                counts["kills"] += 1
                counts[f"of {whom}"] += 1
                counts["met"] += status < 0 or "once more" in printed
                counts["tracebacks"] += "Traceback" in printed
                counts["lost"] += lost(before, after)
                before = after
            status, printed = Command(path, "--resume").end()
            after = stored(path)
            counts["comparisons"] += 1
            counts["complete"] += status == 0 and len(after) == NUM_RUNS
            counts["tracebacks"] += "Traceback" in printed
            counts["lost"] += lost(before, after)
            counts["wrong"] += wrong(after)
            counts["leftovers"] += len(list(path.rglob("*.partial")))
    return {**counts, "slowest_end_in_seconds": round(slowest, 1)}


def chosen(whom: str, parent: int, workers: list[int], rng: random.Random) -> list[int]:
    if whom == "worker":
        return rng.sample(workers, min(1, len(workers)))
    return [parent, *(workers if whom == "both" else [])]


def lost(before: dict, after: dict) -> int:
    """Returns how many outcomes are gone or made anew."""
    return sum(
        key not in after or not same(before[key], after[key], seconds=True)
        for key in before
    )


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _flip(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    flipped = content[place] ^ (1 << rng.randrange(8))
    return content[:place] + bytes([flipped]) + content[place + 1 :]


def _zeros(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes(min(512, len(content) - place)) + content[place + 512 :]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + content[max(place - 64, 0) :]


def _swap_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    one, other = rng.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


DAMAGES = {
    "cut": _cut,
    "flipped bit": _flip,
    "zeros": _zeros,
    "repeated": _repeat,
    "swapped lines": _swap_lines,
}


def unfinished(directory: Path) -> None:
    """Writes what a comparison leaves that was killed after ten runs."""
    found = Results(SETTINGS, PROBLEMS)
    recorder = store.Store(found, directory)
    for run in itertools.islice(SETTINGS.runs(), 10):
        found.records[run] = record(run)
        found.seconds = 1.0
        recorder.add(run)


def damages(number: int) -> dict:
    """Files that are damaged: refused in a sentence, of no effect, or a run is made again."""
    rng, counts = random.Random(0), collections.Counter({"altered": 0})
    with tempfile.TemporaryDirectory() as directory:
        whole = Path(directory)
        unfinished(whole)
        original = stored(whole)
        # What is read: the other files are for others.
        victim = whole / store.RUNS
        for name, damage in itertools.islice(itertools.cycle(DAMAGES.items()), number):
            content = victim.read_bytes()
            victim.write_bytes(damage(content, rng))
            counts[name] += 1
            try:
                found = stored(whole)
            except ValueError as error:
                counts["refused"] += "Cannot resume" in str(error)
            else:
                left = len(original.keys() - found.keys())
                equal = found.keys() <= original.keys() and all(
                    same(found[key], original[key], seconds=True) for key in found
                )
                # The end of the file is gone, as after a kill.
                effect = "made again" if left else "of no effect"
                counts[effect if equal else "altered"] += 1
            victim.write_bytes(content)
    return {"damages": number, **counts}


def pairs(number: int) -> dict:
    """Two commands at a time in one directory: one works, the other is told so."""
    rng, counts = random.Random(0), collections.Counter()
    for _ in range(number):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory)
            first = Command(path)
            time.sleep(rng.uniform(0.0, 0.5))
            ends = [Command(path).end(), first.end()]
            printed = " ".join(text for _, text in ends)
            found = stored(path)
            counts["pairs"] += 1
            counts["one worked"] += sorted(status for status, _ in ends) == [0, 2]
            counts["told so"] += "Another comparison, of process" in printed
            counts["told late"] += "already holds results" in printed
            counts["tracebacks"] += "Traceback" in printed
            counts["complete"] += len(found) == NUM_RUNS
            counts["wrong"] += wrong(found)
    return dict(counts)


JOBS = {"kills": kills, "damages": damages, "pairs": pairs}

if __name__ == "__main__":
    prepare()
    print(json.dumps(JOBS[sys.argv[1]](int(sys.argv[2]))))
