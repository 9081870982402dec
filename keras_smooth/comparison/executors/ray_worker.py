"""The code that a worker of Ray runs for one run."""

import functools
import pickle
import queue
import threading
from collections.abc import Iterator

import cloudpickle
import tensorflow as tf

from keras_smooth.comparison.executors import own_modules
from keras_smooth.comparison.records import environment
from keras_smooth.comparison.runs.events import Event
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import RunId, Variant

_END = None


def fault(versions: dict[str, str]) -> str:
    """Returns a description of the packages whose versions differ on this machine, or ""."""
    versions_here = {name: environment.version(name) for name in versions}
    # In messages, "here" is the machine on which the comparison was started.
    return ", ".join(environment.differences(here=versions, there=versions_here))


def pickled(experiment: Experiment) -> bytes:
    """Returns an experiment together with the user's modules that it needs, as a pickle."""
    content = cloudpickle.dumps(experiment)
    return pickle.dumps((own_modules.sources_for(content), content))


def events(content: bytes, run: bytes) -> Iterator[Event]:
    """Yields the events of one run, which is executed in a thread."""
    experiment = _unpickled(content)
    received: queue.Queue = queue.Queue()

    def work() -> None:
        try:
            activation, variant, seed = pickle.loads(run)
            experiment.execute([RunId(activation, Variant(*variant), seed)], received.put)
            received.put(_END)
        except BaseException as error:
            received.put(error)

    threading.Thread(target=work, daemon=True).start()
    for event in iter(received.get, _END):
        if isinstance(event, BaseException):
            raise event
        yield event


@functools.lru_cache(maxsize=1)
def _unpickled(content: bytes) -> Experiment:
    """Returns the experiment: one object for all runs of a worker, with its compiled program."""
    # One thread for each worker, since there is a worker for each core.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    sources, experiment = pickle.loads(content)
    own_modules.install(sources)
    return pickle.loads(experiment)
