"""Operations: what a model computes, as TensorFlow traces it, and what is known of each kind.

trace.py        a model or function as operations
program.py      operations in order, and how each kind is called
bodies.py       the bodies of control flow and of functions
rows.py         what a row of the table says
table/          the rows, by family
lifting.py      how a function is applied to the entries of a jet
lists.py        lists of jets, as loops keep them
evaluation.py   Taylor mode along the operations
taped.py        nested tapes around one operation without a rule
paths.py        the operations between inputs and outputs

`trace` gives a `Program`, which `evaluate` runs for jets in the place of its inputs: each
operation by the rule in its row.
"""

from keras_smooth.operations import table
from keras_smooth.operations.evaluation import evaluate
from keras_smooth.operations.paths import reached
from keras_smooth.operations.rows import Row, all_rows, row
from keras_smooth.operations.trace import Trace, trace

__all__ = ["Row", "Trace", "all_rows", "evaluate", "reached", "row", "table", "trace"]
