"""audit: the layers of a model whose derivatives are lost or wrong.

audit.py          audit: from a model to a report
traced.py         the trace of a model in one mode, and the layers that contain each operation
plan.py           findings from the table of operations, and operations to examine at samples
samples.py        distances of samples from breakpoints, and jumps of derivatives there
judgement.py      findings on operations with breakpoints and edges of domains, from samples
checks.py         comparison of nested tapes with differences
findings.py       verdicts and causes, one row each
report.py         LayerAudit and Audit, printed as a table or as JSON
pictures.py       pictures of wrong derivatives, for notebooks
model_files.py    models in files, and the cause if one cannot be read
claimed_sizes.py  the sizes in a model file, compared with the size of the file
progress.py       a line in the terminal with the current layer

A model is traced in both modes. The plan of a trace has the findings that follow from the table of
operations. The others are found at samples and by measurements. Findings become rows of a report.
"""

from keras_smooth.auditing.audit import audit
from keras_smooth.auditing.report import Audit, LayerAudit
