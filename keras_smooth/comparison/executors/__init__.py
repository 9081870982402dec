"""Where tasks run, behind one interface, `Executor`.

interface.py           `Executor`, and how any of them works through one task
this_process.py        one task after the other, here
worker_processes.py    several processes of this machine
ray_cluster.py         the cores of a Ray cluster
ray_nodes.py           the nodes of one, and those that cannot do the runs
ray_worker.py          what a worker does there
own_modules.py         the user's modules that are sent with a run
choice.py              the executor that is asked for
"""

from keras_smooth.comparison.executors.choice import EXECUTORS, LOCAL, chosen
from keras_smooth.comparison.executors.interface import Executor

__all__ = ["EXECUTORS", "LOCAL", "Executor", "chosen"]
