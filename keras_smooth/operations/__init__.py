"""Operations: the operations of a model that TensorFlow traces, and facts on each kind.

trace.py        a model or function as operations
program.py      operations in order, and how each kind is called
bodies.py       the bodies of control flow and of functions
rows.py         the columns of a row of the table
table/          the rows, by family
lifting.py      how a function is applied to the entries of a jet
breakpoints.py  the distances of points from breakpoints
evaluation.py   Taylor mode on the operations
taped.py        TensorFlow's own derivatives: their orders, and jets of what has no rule
registered.py   functions and layers with registered facts
signs.py        tensors that are positive for all inputs
walk.py         the walk through the operations and their bodies
paths.py        the operations between inputs and outputs

`trace` returns a `Program`, which `evaluate` runs on jets instead of its inputs: each operation by the
rule in its row.
"""

from keras_smooth.operations import table
from keras_smooth.operations.evaluation import evaluate
from keras_smooth.operations.paths import (
    between,
    classes,
    kept_in_variables,
    reached,
    smoothness,
)
from keras_smooth.operations.rows import Row, all_rows, row
from keras_smooth.operations.table.sample_axes import MixedError, axes_of_samples
from keras_smooth.operations.taped import tapes_right_to, wrong_by_tapes
from keras_smooth.operations.trace import Trace, trace
