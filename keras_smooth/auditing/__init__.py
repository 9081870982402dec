"""audit: which layers of a model lose or falsify derivatives, measured.

auditor.py        audit: each part, each of its calls, each mode
used.py           which layers a model calls, also within one that is used by a method
rows.py           the row of a layer from its findings, and that of the model
lines.py          lines through the inputs of a layer, along which it is measured
measured_call.py  a faithful copy of a layer and a call of it, as a function along lines
grouped_convolutions.py   convolutions in groups compiled once, not at every call
towers.py         a function of one variable with its derivatives from nested tapes
measurement.py    a call measured along its lines: one finding
composition.py    whether derivatives survive where another function follows
affine.py         the derivatives of affine functions, which are known
differences.py    derivatives against differences of the one below
jumps.py          jumps of derivatives anywhere along a line
precision.py      derivatives in a layer's own dtype against those of its copy
findings.py       what was measured, and which of several is the worst
verdicts.py       the verdicts and outcomes, one row each
remedies.py       what to do about each verdict
claimed_sizes.py  what a file claims, against its size
model_files.py    models in files, and why one cannot be read
progress.py       a line on the terminal that says which layer is measured
report.py         LayerAudit and Audit, printed as a table or as JSON

Data goes from a recorded call and a line to a tower, from towers to a finding, and from
the findings of all calls to a row.
"""

from keras_smooth.auditing.auditor import audit
from keras_smooth.auditing.report import Audit, LayerAudit

__all__ = ["Audit", "LayerAudit", "audit"]
