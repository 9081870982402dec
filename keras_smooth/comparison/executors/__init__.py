"""Where runs are made, behind one interface, `Executor`.

interface.py           `Executor`, how any of them makes runs, and the one of this process
worker_processes.py    several processes of this machine
ray_cluster.py         the cores of a Ray cluster, and the nodes that cannot do the runs
ray_worker.py          what a worker does there
own_modules.py         the user's modules that are sent with a run
choice.py              the executor that is asked for
"""

from keras_smooth.comparison.executors.choice import chosen
from keras_smooth.comparison.executors.interface import Executor

__all__ = ["Executor", "chosen"]
