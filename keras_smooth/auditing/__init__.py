"""audit: which layers of a model lose or falsify derivatives.

audit.py          audit: from a model to a report
traced.py         a model in one mode as operations, each with its layers
plan.py           what the table of operations tells of them
samples.py        the distances of samples from breakpoints
judgement.py      verdicts from samples on breakpoints and edges of domains
checks.py         comparison of nested tapes with differences
findings.py       verdicts and causes, one row each
report.py         LayerAudit and Audit, printed as a table or as JSON
pictures.py       pictures of wrong derivatives, for notebooks
model_files.py    models in files, and why one cannot be read
claimed_sizes.py  the sizes in a model file, compared with the size of the file
progress.py       a line in the terminal with the current layer

A model is traced in both modes; a trace becomes a plan; what the plan leaves open is looked up
in samples or measured; findings become rows of a report.
"""

from keras_smooth.auditing.audit import audit
from keras_smooth.auditing.report import Audit, LayerAudit
