"""Comparisons that are killed, have damaged files, or use one directory at the same time.

    python tests/killed_comparisons.py kills N damages N pairs N

prints a JSON line with the counts of each job. Everything but the training is real: runs take milliseconds, and
their numbers depend on activation, initializer and seed only. Their seconds are random, so that
a run that was lost, repeated or mixed up is detected. TensorFlow is imported once, and processes
are forks.
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
from keras_smooth.comparison.runs.events import Finished, Progress
from keras_smooth.comparison.runs.experiment import Experiment, errors
from keras_smooth.comparison.runs.record import Record, Run
from keras_smooth.comparison.settings import RunId, Settings

SETTINGS = Settings(activations=("tanh", "sigmoid", "elu"), seeds=3, epochs=40)
PROBLEMS = problems.load_problems(SETTINGS.problem)
(PROBLEM,) = PROBLEMS.values()
COMMAND = ["compare", "--activations", *SETTINGS.activations, "--seeds", "3"]
COMMAND += ["--epochs", "40", "--baselines", "--jobs", "2"]
NUM_RUNS = 12  # sigmoid runs from two starts
VICTIMS = ("parent", "worker", "both")


def made_record(run_id: RunId) -> Record:
    """Returns the made-up record of a run; the error of its curves is its own."""
    rng = np.random.default_rng(
        [*run_id.activation.encode(), *run_id.variant.initializer.encode(), run_id.seed]
    )
    curves = tuple(exact + rng.normal() for exact in PROBLEM.exact)
    errors_of_run = errors(PROBLEM, curves)
    run = Run(
        run_id.activation, run_id.seed, True, 1, "made up", rng.uniform(), 40, 44, 0,
        rng.uniform(), **errors_of_run, seconds=random.SystemRandom().random(),
    )  # fmt: skip
    curve = {name: [0.5, rng.uniform()] for name in learning.COLUMNS}
    return Record(run, curves, {**curve, "iteration": [20, 40]})


def execute(self, runs, handle):
    for run in runs:
        for iteration in range(0, 40, 4):
            handle(Progress(run, iteration, 0.5))
            time.sleep(0.02)
        handle(Finished(run, made_record(run)))


class ForkedWorker:
    """Replaces `subprocess.Popen` of the executor by a fork."""

    def __init__(self, command, stderr, **_):
        task, event = os.pipe(), os.pipe()
        self._status = None
        parent, self.pid = os.getpid(), os.fork()
        if self.pid == 0:
            self._work(task, event, stderr, parent)
        os.close(task[0])
        os.close(event[1])
        self.stdin, self.stdout = open(task[1], "wb"), open(event[0], "rb")
        write_to_parent(str(self.pid))

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
            # The fork must not continue the code of the parent.
            os._exit(1)

    def kill(self):
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self):
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status


def prepare() -> None:
    """Replaces processes by forks and training by made-up runs, in this process only."""
    Experiment.execute = execute
    worker_processes.subprocess = type(
        "Forks", (), {"Popen": ForkedWorker, "PIPE": subprocess.PIPE}
    )
    # A fork has TensorFlow's threads already.
    tf.config.threading.set_intra_op_parallelism_threads = lambda number: None
    comparing.report.write = lambda *_: None  # takes seconds


_channel = None


def write_to_parent(text: str) -> None:
    os.write(_channel, f"{text}\n".encode())


class Command:
    """The command line in a fork, which reports its workers and its exit status."""

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
        """Returns the processes of workers that were started since the last call."""
        os.set_blocking(self._reads, wait)
        try:
            return [int(pid) for pid in os.read(self._reads, 4096).split()]
        except BlockingIOError:
            return []

    def end(self) -> tuple[int, str]:
        """Waits for the command and its workers; returns the exit status and the output."""
        _, status = os.waitpid(self.pid, 0)
        os.set_blocking(self._reads, True)
        # All its workers have the other end open.
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
            pass  # It has ended already.


def stored_records(directory: Path) -> dict:
    """Returns the stored records by their keys."""
    return resuming.read(SETTINGS, PROBLEMS, directory).records


def num_wrong(records: dict) -> int:
    """Returns the number of records that differ from those of their runs."""
    return sum(not are_equal(records[run], made_record(run)) for run in records)


def are_equal(first: Record, second: Record, seconds: bool = False) -> bool:
    runs = [first.run, second.run]
    if not seconds:
        runs = [dataclasses.replace(run, seconds=0.0) for run in runs]
    return (
        runs[0] == runs[1]
        and first.learning == second.learning
        and all(map(np.array_equal, first.curves, second.curves))
    )


def kills(number: int) -> dict:
    """Kills comparisons again and again until they are complete."""
    rng, counts = random.Random(0), collections.Counter()
    slowest = 0.0
    while counts["kills"] < number:
        with tempfile.TemporaryDirectory() as directory:
            path, before = Path(directory), {}
            while len(before) < NUM_RUNS:
                command = Command(path, "--resume")
                workers = command.workers(wait=rng.random() < 0.9)
                time.sleep(rng.uniform(0.0, 1.0))
                victim, workers = rng.choice(VICTIMS), workers + command.workers()
                kill(chosen_pids(victim, command.pid, workers, rng))
                killed = time.monotonic()
                status, printed = command.end()
                if victim != "worker":
                    slowest = max(slowest, time.monotonic() - killed)
                after = stored_records(path)
                counts["kills"] += 1
                counts[f"of {victim}"] += 1
                counts["met"] += status < 0 or "once more" in printed
                counts["tracebacks"] += "Traceback" in printed
                counts["lost"] += num_lost(before, after)
                before = after
            status, printed = Command(path, "--resume").end()
            after = stored_records(path)
            counts["comparisons"] += 1
            counts["complete"] += status == 0 and len(after) == NUM_RUNS
            counts["tracebacks"] += "Traceback" in printed
            counts["lost"] += num_lost(before, after)
            counts["wrong"] += num_wrong(after)
            counts["leftovers"] += len(list(path.rglob("*.partial")))
    return {**counts, "slowest_end_in_seconds": round(slowest, 1)}


def chosen_pids(
    victim: str, parent: int, workers: list[int], rng: random.Random
) -> list[int]:
    if victim == "worker":
        return rng.sample(workers, min(1, len(workers)))
    return [parent, *(workers if victim == "both" else [])]


def num_lost(before: dict, after: dict) -> int:
    """Returns the number of records that are missing or were made again."""
    return sum(
        key not in after or not are_equal(before[key], after[key], seconds=True)
        for key in before
    )


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _flip(content: bytes, rng: random.Random) -> bytes:
    position = rng.randrange(len(content))
    flipped = content[position] ^ (1 << rng.randrange(8))
    return content[:position] + bytes([flipped]) + content[position + 1 :]


def _zeros(content: bytes, rng: random.Random) -> bytes:
    position = rng.randrange(len(content))
    return (
        content[:position]
        + bytes(min(512, len(content) - position))
        + content[position + 512 :]
    )


def _repeat(content: bytes, rng: random.Random) -> bytes:
    position = rng.randrange(len(content))
    return content[:position] + content[max(position - 64, 0) :]


def _swap_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    first, second = rng.sample(range(len(lines)), 2)
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


DAMAGES = {
    "cut": _cut,
    "flipped bit": _flip,
    "zeros": _zeros,
    "repeated": _repeat,
    "swapped lines": _swap_lines,
}


def store_ten_runs(directory: Path) -> None:
    """Writes the files of a comparison that was killed after ten runs."""
    results = Results(SETTINGS, PROBLEMS)
    recorder = store.Store(results, directory)
    for run in itertools.islice(SETTINGS.runs(), 10):
        results.records[run] = made_record(run)
        results.seconds = 1.0
        recorder.add(run)


def damages(number: int) -> dict:
    """Damages files: an error, no effect, or runs that are made again."""
    rng, counts = random.Random(0), collections.Counter({"altered": 0})
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        store_ten_runs(path)
        original = stored_records(path)
        # The only file that is read.
        journal = path / store.RUNS
        for name, damage in itertools.islice(itertools.cycle(DAMAGES.items()), number):
            content = journal.read_bytes()
            journal.write_bytes(damage(content, rng))
            counts[name] += 1
            try:
                records_now = stored_records(path)
            except ValueError as error:
                counts["refused"] += "Cannot resume" in str(error)
            else:
                missing = len(original.keys() - records_now.keys())
                equal = records_now.keys() <= original.keys() and all(
                    are_equal(records_now[key], original[key], seconds=True)
                    for key in records_now
                )
                # The end of the file is missing, as after a kill.
                effect = "made again" if missing else "of no effect"
                counts[effect if equal else "altered"] += 1
            journal.write_bytes(content)
    return {"damages": number, **counts}


def pairs(number: int) -> dict:
    """Runs two commands at a time in one directory: one works, the other reports that."""
    rng, counts = random.Random(0), collections.Counter()
    for _ in range(number):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory)
            first = Command(path)
            time.sleep(rng.uniform(0.0, 0.5))
            outcomes = [Command(path).end(), first.end()]
            printed = " ".join(text for _, text in outcomes)
            records_now = stored_records(path)
            counts["pairs"] += 1
            counts["one worked"] += sorted(status for status, _ in outcomes) == [0, 2]
            counts["told so"] += "Another comparison, of process" in printed
            counts["told late"] += "already holds results" in printed
            counts["tracebacks"] += "Traceback" in printed
            counts["complete"] += len(records_now) == NUM_RUNS
            counts["wrong"] += num_wrong(records_now)
    return dict(counts)


JOBS = {"kills": kills, "damages": damages, "pairs": pairs}

if __name__ == "__main__":
    prepare()
    jobs = zip(sys.argv[1::2], map(int, sys.argv[2::2]))
    print(json.dumps({name: JOBS[name](number) for name, number in jobs}))
