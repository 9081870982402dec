"""Executors of runs, with one interface, `Executor`.

interface.py           `Executor`, and the executor of this process
worker_processes.py    several processes of this machine
ray_cluster.py         the cores of a Ray cluster, and nodes that cannot execute runs
ray_worker.py          the code of a worker in a Ray cluster
own_modules.py         the user's modules that are sent with a run
choice.py              the requested executor
"""

from keras_smooth.comparison.executors.choice import chosen_executor
from keras_smooth.comparison.executors.interface import Executor
