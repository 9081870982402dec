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
from collections.abc import Callable

_DONE = "done"


def run(settings, work: list, jobs: int, handle: Callable) -> None:
    """Works through tasks in `jobs` processes; `handle` is called in this thread.

    Raises:
        RuntimeError: If a worker died; the message ends with what it printed.
    """
    jobs = min(jobs, len(work))
    tasks = collections.deque(work)
    events: queue.Queue = queue.Queue()
    pool = [_Worker(settings, jobs, events) for _ in range(jobs)]
    try:
        for worker in pool:
            worker.send(tasks.popleft())
        busy = len(pool)
        while busy:
            worker, event = events.get()
            if event is None:
                raise RuntimeError(f"A worker process died.\n{worker.log_tail()}")
            if event != _DONE:
                handle(event)
            elif tasks:
                worker.send(tasks.popleft())
            else:
                busy -= 1
    finally:
        for worker in pool:
            worker.stop()


class _Worker:
    """The parent's end of a process: a pipe in, a thread that reads the pipe out."""

    def __init__(self, settings, jobs: int, events: queue.Queue):
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # Ctrl-C is for the parent, which then stops its workers.
            start_new_session=True,
        )
        threads = max(1, (os.cpu_count() or 1) // jobs)
        self.send((settings, threads))
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def send(self, item: object) -> None:
        try:
            pickle.dump(item, self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # The reader reports that the process is gone.

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def log_tail(self) -> str:
        self._process.wait()
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2000:]

    def _read(self, events: queue.Queue) -> None:
        try:
            while True:
                events.put((self, pickle.load(self._process.stdout)))
        except (EOFError, pickle.UnpicklingError):
            events.put((self, None))


def main() -> None:
    """The worker's side: reads settings and tasks from stdin, writes events to stdout."""
    # Whatever prints to stdout must not get between the events.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    import tensorflow as tf

    from keras_smooth.comparison import schedule

    def write(event: object) -> None:
        pickle.dump(event, out)
        out.flush()

    settings, threads = pickle.load(sys.stdin.buffer)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        schedule.run_task(settings, task, write)
        write(_DONE)
