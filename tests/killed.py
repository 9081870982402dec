"""Fits that are killed and restarted, each in a process of its own.

    python tests/killed.py short | random NUM_KILLS METHOD

prints a JSON line. TensorFlow is imported once and used only in forks, so that a start takes
one second instead of ten.
"""

import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter

import keras
import numpy as np

import keras_smooth

EPOCHS = 60
# The last message of a process before it was killed: the phase in which it was.
PHASES = {
    "s": "start",
    "b": "compile",
    "c": "compile",
    "i": "write",
    "f": "write",
    "g": "write",
    "r": "rename",
    "d": "rename",
}

# A random kill comes after one of these messages, within so many seconds.
MOMENTS = [("s", 1.0), ("b", 1.5), ("i", 0.05), ("f", 0.01), ("r", 0.001), ("g", 0.1)]


def fit(
    checkpoint: str | None,
    send,
    epochs: int = EPOCHS,
    chunk: int = 1,
    method: str = "lbfgs",
):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2))
    model = keras.Sequential([keras.Input((2,), dtype="float64")])
    first, last = (keras.initializers.GlorotUniform(seed=seed) for seed in range(2))
    model.add(keras.layers.Dense(8, "tanh", kernel_initializer=first, dtype="float64"))
    model.add(keras.layers.BatchNormalization(dtype="float64"))
    model.add(keras.layers.Dense(1, kernel_initializer=last, dtype="float64"))
    model.compile(loss="mse")
    callbacks = [
        keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: send("b"),
            on_train_batch_begin=lambda batch, logs: send("c"),
            on_epoch_end=lambda epoch, logs: send("i"),
        )
    ]
    arguments = {"epochs": epochs, "steps_per_execution": chunk, "tolerance": 0.0}
    arguments |= {"checkpoint": checkpoint, "callbacks": callbacks, "verbose": 0}
    arguments["method"] = method
    # Tracing takes a second, and XLA would take two more.
    arguments["jit_compile"] = False
    try:
        keras_smooth.fit_lbfgs(model, x, np.sin(x.sum(axis=1, keepdims=True)), **arguments)
    except KeyboardInterrupt:
        pass
    return model


def outcome(model) -> dict:
    """Returns everything that must be equal with and without kills."""
    total = hashlib.sha256()
    for variable in model.variables:
        total.update(np.asarray(variable).tobytes())
    history = model.history
    total.update(json.dumps([history.epoch, history.history]).encode())
    result = history.result
    return {"hash": total.hexdigest(), "nit": result.nit, "nfev": result.nfev}


class Process:
    """A fork that runs `job(send)` and reports what it returns as its last line."""

    def __init__(self, job):
        self._read_end, writes = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._read_end)

            def send(text: str) -> None:
                os.write(writes, text.encode())

            send("s")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            send("\n" + json.dumps(job(send)))
            os._exit(0)
        os.close(writes)
        self.messages = ""

    def wait_for(self, phase: str, count: int = 1) -> None:
        """Waits until the process has sent a message `count` times, or has ended."""
        while self.messages.count(phase) < count:
            message = os.read(self._read_end, 1).decode()
            if not message:
                return
            self.messages += message

    def end(self) -> dict | None:
        """Waits for the end, and returns the report, or None if the process was killed."""
        with os.fdopen(self._read_end) as pipe:
            self.messages += pipe.read()
        os.waitpid(self.pid, 0)
        phases, _, report = self.messages.partition("\n")
        self.messages = phases
        return json.loads(report) if report else None


def die_at(name: str, count: int, after: bool) -> None:
    """Makes this process die at a call of `os.<name>`, before or after the call has its effect."""
    original, calls_left = getattr(os, name), [count]

    def die(*arguments):
        calls_left[0] -= 1
        if calls_left[0] == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        original(*arguments)
        if calls_left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(os, name, die)


def send_at_writes(send) -> None:
    """Makes this process send a message at each step of a write."""
    for name, (before, after) in {"fsync": "fg", "replace": "rd"}.items():
        original = getattr(os, name)

        def with_message(*arguments, original=original, before=before, after=after):
            send(before)
            original(*arguments)
            send(after)

        setattr(os, name, with_message)


def uninterrupted(epochs: int, method: str = "lbfgs") -> dict:
    return Process(lambda send: outcome(fit(None, send, epochs, method=method))).end()


def killed_in_writes() -> dict:
    """Runs a fit that dies at each step of a write, twice before the first file is complete."""
    deaths = [("fsync", 1, False), ("replace", 1, False), ("replace", 2, True)]
    deaths += [("unlink", 2, False)]
    killed = 0
    with tempfile.TemporaryDirectory() as directory:
        for death in deaths:

            def job(send, death=death):
                die_at(*death)
                return outcome(fit(directory, send, 10))

            killed += Process(job).end() is None
        last = Process(lambda send: outcome(fit(directory, send, 10))).end()
        files = sorted(os.listdir(directory))
    return {
        "deaths": len(deaths),
        "killed": killed,
        "same": last == uninterrupted(10),
        "files": files,
    }


def interrupted() -> dict:
    """Runs a fit that gets SIGINT in the middle of a long chunk, and continues it."""
    epochs, chunk = 4000, 2000

    def job(send):
        model = fit(directory, send, epochs, chunk)
        losses = [float(loss) for loss in model.history.history["loss"]]
        result = model.history.result
        return {"status": result.status, "fun": result.fun, "losses": losses}

    with tempfile.TemporaryDirectory() as directory:
        process = Process(job)
        process.wait_for("c", 2)
        os.kill(process.pid, signal.SIGINT)
        first = process.end()
        second = Process(job).end()
    return {"first": first, "second": second}


def phase_of(messages: str) -> str:
    # The last step of a write is to flush the directory; the first chunk is compiled.
    is_later_chunk = messages.endswith("c") and messages.count("c") > 1
    return "iterate" if is_later_chunk or messages.endswith("dfg") else PHASES[messages[-1]]


def killed_at_random(num_kills: int, method: str = "lbfgs") -> dict:
    """Runs fits that are killed five times each, and then runs them to the end."""
    rng = random.Random(0)
    expected = uninterrupted(EPOCHS, method)
    kills, num_equal, runs = Counter(), 0, num_kills // 5
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as directory:

            def job(send, directory=directory):
                send_at_writes(send)
                return outcome(fit(directory, send, method=method))

            for _ in range(5):
                phase, seconds = rng.choice(MOMENTS)
                process = Process(job)
                process.wait_for(phase, rng.randint(1, 8) if phase in "ifrg" else 1)
                time.sleep(rng.uniform(0.0, seconds))
                os.kill(process.pid, signal.SIGKILL)
                assert process.end() is None
                kills[phase_of(process.messages)] += 1
            num_equal += Process(job).end() == expected
    return {"kills": dict(kills), "runs": runs, "same": num_equal}


def short() -> dict:
    """Returns the reports of both short jobs, for which TensorFlow is imported once."""
    return {"writes": killed_in_writes(), "interrupt": interrupted()}


JOBS = {
    "short": short,
    "random": lambda num_kills, method: killed_at_random(int(num_kills), method),
}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](*sys.argv[2:])))
