"""Operations: the operations of a model that TensorFlow traces, and facts on each kind.

trace.py            the trace of a model or function
program.py          the operations of a trace in order, and how each kind is called
bodies.py           the bodies of control flow and of called functions
rows.py             the columns of the table of operations
table/              the rows of the table, by family
lifting.py          how operations are applied to the entries of a jet
breakpoints.py      signed distances from breakpoints
evaluation.py       Taylor mode: a program evaluated on jets
float64_program.py  a function in float64, by its operations
taped.py            TensorFlow's own derivatives: up to which order they are right; jets from tapes
leaves.py           leaves of a structure
registered.py       functions and layers with registered facts
recognition.py      calls of such functions, recognized by their operations
signs.py            tensors that are positive for all inputs
walk.py             the walk through the operations of a program and of its bodies
paths.py            the operations on the paths from inputs to outputs
sample_axes.py      the axis of the samples in each tensor, and operations that mix samples

`trace` returns a `Trace`. `evaluate` runs its `Program` on jets instead of tensors: it applies each
operation by the rule in the row of the operation.
"""

from keras_smooth.operations import table
from keras_smooth.operations.evaluation import evaluate
from keras_smooth.operations.float64_program import in_float64
from keras_smooth.operations.paths import (
    assignment_that_moves,
    classes,
    dependent_outputs,
    on_paths,
    smoothness,
)
from keras_smooth.operations.rows import Row, all_rows, row
from keras_smooth.operations.sample_axes import MixedError, axes_of_samples
from keras_smooth.operations.taped import first_wrong_by_tapes, tapes_right_to
from keras_smooth.operations.trace import Trace, trace
