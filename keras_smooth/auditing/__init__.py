"""audit: which layers of a model lose or falsify derivatives.

audit.py          audit: from a model to a report
traced.py         the trace of a model in one mode, and the layers that each operation is in
plan.py           what the table of operations says about a trace, and what is left to samples
samples.py        distances of samples from breakpoints, and jumps of derivatives there
judgement.py      findings on operations with breakpoints and edges of domains, from samples
checks.py         comparison of nested tapes with differences
findings.py       verdicts and causes, one row each
report.py         LayerAudit and Audit, printed as a table or as JSON
pictures.py       pictures of wrong derivatives, for notebooks
model_files.py    models in files, and why one cannot be read
claimed_sizes.py  the sizes in a model file, compared with the size of the file
progress.py       a line in the terminal with the current layer

A model is traced in both modes. A plan is made of each trace. Samples and measurements decide what
the plan leaves open. The findings become the rows of a report.
"""

from keras_smooth.auditing.audit import audit
from keras_smooth.auditing.report import Audit, LayerAudit
