"""What a worker of Ray does with one run."""

import functools
import pickle
import queue
import threading
from collections.abc import Iterator

import cloudpickle
import tensorflow as tf

from keras_smooth.comparison.executors import own_modules
from keras_smooth.comparison.executors.interface import perform
from keras_smooth.comparison.records import environment
from keras_smooth.comparison.runs.events import Event
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import RunId, Variant

_END = None


def fault(versions: dict[str, str]) -> str:
    """Returns which packages have other versions here; nothing if none."""
    here = {name: environment.version(name) for name in versions}
    # The reader is where the comparison was begun.
    return ", ".join(environment.differences(here=versions, there=here))


def dumped(experiment: Experiment) -> bytes:
    """Pickles an experiment together with the user's modules that it needs."""
    content = cloudpickle.dumps(experiment)
    return pickle.dumps((own_modules.named_in(content), content))


def events(content: bytes, run: bytes) -> Iterator[Event]:
    """Gives the events of one run, which goes on in a thread."""
    experiment = _loaded(content)
    heard: queue.Queue = queue.Queue()

    def work() -> None:
        try:
            activation, variant, seed = pickle.loads(run)
            perform(experiment, [RunId(activation, Variant(*variant), seed)], heard.put)
            heard.put(_END)
        except BaseException as error:
            heard.put(error)

    threading.Thread(target=work, daemon=True).start()
    for event in iter(heard.get, _END):
        if isinstance(event, BaseException):
            raise event
        yield event


@functools.lru_cache(maxsize=1)
def _loaded(content: bytes) -> Experiment:
    """Returns the experiment, the same for all runs of a worker, which so compiles seldom."""
    # As a worker process of one machine has that uses all its cores.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    sources, experiment = pickle.loads(content)
    own_modules.install(sources)
    return pickle.loads(experiment)
