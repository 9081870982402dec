"""Worker processes, which receive runs and return events, both pickled, through pipes.

They are plain subprocesses, not those of `multiprocessing`, so that a script that calls `compare`
needs no `__main__` guard. Messages of TensorFlow are written to a log, so that they do not mix with
the display.
"""

import collections
import contextlib
import os
import pickle
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, cast

import cloudpickle

from keras_smooth.comparison.runs.events import Died, Event, Finished, Handle
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import Programs, RunId
from keras_smooth.presentation.counts import counted

SECONDS_BETWEEN_LOOKS = 1.0
_TRACEBACK = "Traceback (most recent call last):"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


class WorkerProcesses:
    """Executes runs in processes of this machine.

    A worker executes the runs of the program that it has compiled. If none is left, it begins a
    program that no worker has begun, or else executes runs of the program with most runs left. A
    run during which a worker died is tried once more, by a new worker.

    Args:
        jobs: Number of processes.
    """

    def __init__(self, jobs: int):
        self._jobs = jobs

    def place(self, num_runs: int) -> str:
        return f"in {counted(min(self._jobs, num_runs), 'process', 'processes')}"

    def execute(self, experiment: Experiment, programs: Programs, handle: Handle) -> None:
        jobs = min(self._jobs, sum(map(len, programs)))
        threads = max(1, (os.cpu_count() or 1) // (jobs or 1))
        # `sys.path` comes first, since unpickling the rest imports the user's modules.
        start = pickle.dumps(sys.path) + cloudpickle.dumps((experiment, threads))
        _Pool(start, programs, handle).work(jobs)


class _Pool:
    """The workers, and the runs that are left for them."""

    def __init__(self, start: bytes, programs: Programs, handle: Handle):
        self._start = start
        self._new = collections.deque(map(collections.deque, programs))
        self._begun: list[collections.deque[RunId]] = []
        self._handle = handle
        self._events: queue.Queue = queue.Queue()
        self._busy: set[_Worker] = set()
        self._died: set[RunId] = set()

    def work(self, jobs: int) -> None:
        try:
            for _ in range(jobs):
                self._start_worker()
            while self._busy:
                self._handle_event(*self._events.get())
        finally:
            for worker in self._busy:
                worker.stop()

    def _start_worker(self) -> None:
        worker = _Worker(self._start, self._events)
        self._busy.add(worker)
        self._send_next(worker)

    def _handle_event(self, worker: "_Worker", event: Event | None) -> None:
        """Handles an event of a worker; None is its death."""
        if worker not in self._busy:
            return  # The worker was stopped.
        if event is None:
            self._replace(worker)
            return
        self._handle(event)
        if isinstance(event, Finished):
            worker.run = None
            self._send_next(worker)

    def _send_next(self, worker: "_Worker") -> None:
        """Sends a worker its next run, or stops it."""
        if not worker.left and self._new:
            worker.left = self._new.popleft()
            self._begun.append(worker.left)
        elif not worker.left:
            worker.left = max(self._begun, key=len)
        if worker.left:
            worker.send(worker.left.popleft())
        else:
            self._busy.remove(worker)
            worker.stop()

    def _replace(self, dead: "_Worker") -> None:
        """Reports the run during which a worker died, and starts a new worker if needed."""
        self._busy.remove(dead)
        if run := dead.run:
            again = run not in self._died
            self._died.add(run)
            if again:
                dead.left.appendleft(run)
            self._handle(Died(run, dead.failure_message(), again))
        dead.stop()
        if self._new or any(self._begun):
            self._start_worker()


class _Worker:
    """A worker process in its parent: its stdin, and a thread that reads its stdout.

    Attributes:
        run: The run that the worker executes.
        left: The waiting runs of the worker's program, shared by all workers of that program.
    """

    def __init__(self, start: bytes, events: queue.Queue):
        self.run: RunId | None = None
        self.left: collections.deque[RunId] = collections.deque()
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import main; main({os.getpid()})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # Only the parent receives Ctrl-C, and stops its workers.
            start_new_session=True,
        )
        self._stdin = cast(IO[bytes], self._process.stdin)
        self._stdout = cast(IO[bytes], self._process.stdout)
        self._write(start)
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def send(self, run: RunId) -> None:
        self.run = run
        self._write(pickle.dumps(run))

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    def failure_message(self) -> str:
        """Returns the cause of death of the process, and its last output."""
        status = self._process.wait()
        if status == -signal.SIGKILL:
            return (
                "its worker process was killed (SIGKILL), by somebody or by the system for want "
                "of memory."
            )
        signals = {-member.value: f"of {member.name}" for member in signal.Signals}
        cause = signals.get(status, f"with exit status {status}")
        self._log.seek(0)
        message = last_message(self._log.read().decode(errors="replace")) or "nothing"
        return f"its worker process died {cause} and said last: {message}"

    def _write(self, message: bytes) -> None:
        # The thread that reads handles the end of the process.
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(message)
            self._stdin.flush()

    def _read(self, events: queue.Queue) -> None:
        with self._stdout as events_of_process:
            try:
                while True:
                    events.put((self, pickle.load(events_of_process)))
            except (EOFError, pickle.UnpicklingError):
                events.put((self, None))


def last_message(output: str) -> str:
    """Returns the last line that a process wrote, or the exception of its last traceback.

    Messages of exceptions of Keras and TensorFlow have many lines. The last ones are a list of
    arguments or a line of their code, so that the first two are returned.
    """
    lines = [_COLOR.sub("", line).rstrip() for line in output.splitlines() if line.strip()]
    if _TRACEBACK not in lines:
        return lines[-1].strip() if lines else ""
    after = lines[len(lines) - lines[::-1].index(_TRACEBACK) :]
    return " ".join([line for line in after if not line.startswith(" ")][:2])


def _end_with_parent(parent: int) -> None:
    """Ends this process after its parent has ended, which cannot stop workers if it is killed."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


def main(parent: int) -> None:
    """The program of a worker: reads an experiment and runs from stdin, writes events to stdout."""
    # Other output goes to stderr, so that it does not mix with the events.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    import tensorflow as tf

    def write(event: object) -> None:
        pickle.dump(event, out)
        out.flush()

    sys.path[:] = pickle.load(sys.stdin.buffer)
    experiment, threads = pickle.load(sys.stdin.buffer)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    while True:
        try:
            run = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        experiment.execute([run], write)
