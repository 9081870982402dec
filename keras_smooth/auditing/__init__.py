"""audit: which layers of a model lose or falsify derivatives.

audit.py          audit: the way from a model to a report
traced.py         a model in one mode as operations, each with its layers
plan.py           what the table of operations tells of them
samples.py        where samples lie beside the places where pieces meet
judgement.py      what samples tell of pieces and of edges of domains
checks.py         what no row tells: nested tapes against differences
findings.py       verdicts and causes, one row each
report.py         LayerAudit and Audit, printed as a table or as JSON
pictures.py       what a notebook shows of a derivative that is wrong
model_files.py    models in files, and why one cannot be read
claimed_sizes.py  what a file claims, against its size
progress.py       a line on the terminal that says which layer is judged

A model is traced in both modes; a trace becomes a plan; what the plan leaves open is looked up
in samples or measured; findings become rows of a report.
"""

from keras_smooth.auditing.audit import audit
from keras_smooth.auditing.report import Audit, LayerAudit

__all__ = ["Audit", "LayerAudit", "audit"]
