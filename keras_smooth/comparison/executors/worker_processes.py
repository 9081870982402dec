"""Worker processes: tasks go in and events come out, pickled, through pipes.

Plain subprocesses instead of `multiprocessing`: a script that calls `compare` needs no
`__main__` guard, and what TensorFlow prints goes into a log instead of over the display.
"""

import collections
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

import cloudpickle

from keras_smooth.comparison.executors.interface import perform
from keras_smooth.comparison.experiment import Experiment
from keras_smooth.comparison.tasks import Event, Task

SECONDS_BETWEEN_LOOKS = 1.0
_DONE = "done"


class WorkerProcesses:
    """Runs tasks in processes of this machine, each of which takes the next that is left.

    Args:
        jobs: Number of processes.
    """

    def __init__(self, jobs: int):
        self._jobs = jobs

    def execute(
        self, experiment: Experiment, tasks: Sequence[Task], handle: Callable[[Event], None]
    ) -> None:
        left = collections.deque(tasks)
        events: queue.Queue = queue.Queue()
        threads = max(1, (os.cpu_count() or 1) // min(self._jobs, len(left) or 1))
        # First where to import from: functions of the user may be in modules of their own.
        start = pickle.dumps(sys.path) + cloudpickle.dumps((experiment, threads))
        pool = [_Worker(start, events) for _ in range(min(self._jobs, len(left)))]
        try:
            for worker in pool:
                worker.send(left.popleft())
            busy = len(pool)
            while busy:
                worker, event = events.get()
                if event is None:
                    raise RuntimeError(worker.obituary())
                if event != _DONE:
                    handle(event)
                elif left:
                    worker.send(left.popleft())
                else:
                    busy -= 1
        finally:
            for worker in pool:
                worker.stop()


class _Worker:
    """The parent's end of a process: a pipe in, a thread that reads the pipe out."""

    def __init__(self, start: bytes, events: queue.Queue):
        self._task: Task | None = None
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import main; main({os.getpid()})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # Ctrl-C is for the parent, which then stops its workers.
            start_new_session=True,
        )
        self._write(start)
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def send(self, task: Task) -> None:
        self._task = task
        self._write(pickle.dumps(task))

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def obituary(self) -> str:
        """Returns what the process did when it died, of what, and what it said last."""
        status = self._process.wait()
        cause = f"of signal {-status}" if status < 0 else f"with exit status {status}"
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")[-2000:]
        return (
            f"The worker process that trained {self._task.activation} (seeds "
            f"{', '.join(str(start.seed) for start in self._task.starts)}) died {cause}. "
            "Finished runs in an output directory are kept: go on with resume.\n" + said
        )

    def _write(self, message: bytes) -> None:
        try:
            self._process.stdin.write(message)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # The reader reports that the process is gone.

    def _read(self, events: queue.Queue) -> None:
        try:
            while True:
                events.put((self, pickle.load(self._process.stdout)))
        except (EOFError, pickle.UnpicklingError):
            events.put((self, None))


def _end_with_parent(parent: int) -> None:
    # A parent that is killed cannot stop its workers, who would compute for nobody.
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


def main(parent: int) -> None:
    """The worker's side: reads experiment and tasks from stdin, writes events to stdout."""
    # Whatever prints to stdout must not get between the events.
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
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        perform(experiment, task, write)
        write(_DONE)
