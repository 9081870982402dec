"""Fits that are killed and started again, each in a process of its own.

    python tests/killed.py writes 0 | interrupt 0 | random NUM_KILLS [METHOD]

prints a JSON line. TensorFlow is imported once and started in forks only: a start is then a
second, and not ten.
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
# What a process said last before it died: where the kill met it.
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

# After which word, and within how many seconds from then, a random kill comes.
MOMENTS = [("s", 1.0), ("b", 1.5), ("i", 0.05), ("f", 0.01), ("r", 0.001), ("g", 0.1)]


def fit(
    checkpoint: str | None, say, epochs: int = EPOCHS, chunk: int = 1, method: str = "lbfgs"
):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2))
    model = keras.Sequential([keras.Input((2,), dtype="float64")])
    for seed in range(2):
        start = keras.initializers.GlorotUniform(seed=seed)
        model.add(keras.layers.Dense(8, "tanh", kernel_initializer=start, dtype="float64"))
    model.add(keras.layers.BatchNormalization(dtype="float64"))
    model.add(keras.layers.Dense(1, kernel_initializer=start, dtype="float64"))
    model.compile(loss="mse")
    callbacks = [
        keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: say("b"),
            on_train_batch_begin=lambda batch, logs: say("c"),
            on_epoch_end=lambda epoch, logs: say("i"),
        )
    ]
    arguments = {"epochs": epochs, "steps_per_execution": chunk, "tolerance": 0.0}
    arguments |= {"checkpoint": checkpoint, "callbacks": callbacks, "verbose": 0}
    arguments["method"] = method
    # Tracing takes a second, XLA two more.
    arguments["jit_compile"] = False
    try:
        keras_smooth.fit_lbfgs(model, x, np.sin(x.sum(axis=1, keepdims=True)), **arguments)
    except KeyboardInterrupt:
        pass
    return model


def outcome(model) -> dict:
    """Returns all that must not depend on the kills."""
    total = hashlib.sha256()
    for variable in model.variables:
        total.update(np.asarray(variable).tobytes())
    history = model.history
    total.update(json.dumps([history.epoch, history.history]).encode())
    result = history.result
    return {"hash": total.hexdigest(), "nit": result.nit, "nfev": result.nfev}


class Process:
    """A fork that runs `job(say)` and reports what it returns as its last line."""

    def __init__(self, job):
        self._reads, writes = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reads)

            def say(text: str) -> None:
                os.write(writes, text.encode())

            say("s")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            say("\n" + json.dumps(job(say)))
            os._exit(0)
        os.close(writes)
        self.heard = ""

    def wait_for(self, phase: str, count: int = 1) -> None:
        """Returns when it has said so, or can no longer."""
        while self.heard.count(phase) < count:
            heard = os.read(self._reads, 1).decode()
            if not heard:
                return
            self.heard += heard

    def end(self) -> dict | None:
        """Waits for the end. Returns the report, or None where it was killed."""
        with os.fdopen(self._reads) as pipe:
            self.heard += pipe.read()
        os.waitpid(self.pid, 0)
        phases, _, report = self.heard.partition("\n")
        self.heard = phases
        return json.loads(report) if report else None


def dying(name: str, count: int, after: bool) -> None:
    """Lets this process die at a call of `os.<name>`, before or after it does its work."""
    original, left = getattr(os, name), [count]

    def deadly(*arguments):
        left[0] -= 1
        if left[0] == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        original(*arguments)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(os, name, deadly)


def telling(say) -> None:
    """Lets this process say where it is in a write."""
    for name, (before, after) in {"fsync": "fg", "replace": "rd"}.items():
        original = getattr(os, name)

        def told(*arguments, original=original, before=before, after=after):
            say(before)
            original(*arguments)
            say(after)

        setattr(os, name, told)


def undisturbed(epochs: int, method: str = "lbfgs") -> dict:
    return Process(lambda say: outcome(fit(None, say, epochs, method=method))).end()


def killed_in_writes() -> dict:
    """One fit that dies at every step of a write, twice before anything is complete."""
    deaths = [("fsync", 1, False), ("replace", 1, False), ("replace", 2, True)]
    deaths += [("unlink", 2, False)]
    killed = 0
    with tempfile.TemporaryDirectory() as directory:
        for death in deaths:

            def job(say, death=death):
                dying(*death)
                return outcome(fit(directory, say, 10))

            killed += Process(job).end() is None
        last = Process(lambda say: outcome(fit(directory, say, 10))).end()
        files = sorted(os.listdir(directory))
    return {
        "deaths": len(deaths),
        "killed": killed,
        "same": last == undisturbed(10),
        "files": files,
    }


def interrupted() -> dict:
    """A fit that gets SIGINT in the middle of a long chunk, and goes on."""
    epochs, chunk = 4000, 2000

    def job(say):
        model = fit(directory, say, epochs, chunk)
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


def phase_of(heard: str) -> str:
    # The last step of a write is to sync the directory; the first chunk is compiled.
    again = heard.endswith("c") and heard.count("c") > 1
    return "iterate" if again or heard.endswith("dfg") else PHASES[heard[-1]]


def killed_at_random(num_kills: int, method: str = "lbfgs") -> dict:
    """Fits that are killed five times each and then left alone."""
    rng = random.Random(0)
    exact = undisturbed(EPOCHS, method)
    met, same, runs = Counter(), 0, num_kills // 5
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as directory:

            def job(say, directory=directory):
                telling(say)
                return outcome(fit(directory, say, method=method))

            for _ in range(5):
                phase, seconds = rng.choice(MOMENTS)
                process = Process(job)
                process.wait_for(phase, rng.randint(1, 8) if phase in "ifrg" else 1)
                time.sleep(rng.uniform(0.0, seconds))
                os.kill(process.pid, signal.SIGKILL)
                assert process.end() is None
                met[phase_of(process.heard)] += 1
            same += Process(job).end() == exact
    return {"kills": dict(met), "runs": runs, "same": same}


JOBS = {
    "writes": lambda *_: killed_in_writes(),
    "interrupt": lambda *_: interrupted(),
    "random": killed_at_random,
}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])))
