"""Full-batch L-BFGS for Keras models.

fit.py         fit_lbfgs: its arguments, and the order of things
request.py     these arguments, checked once
resample.py    points that are drawn anew
data/          what users pass, read and checked
objective/     what is minimized, as a function of one vector of weights
checks/        what is refused, and what only warns
minimizers/    minimizers of a function of one vector
run/           one fit: program, iterations, checkpoints
progress.py    what a person sees while it goes on
history.py     what is returned
logs.py        what callbacks and `History` are told
result.py      how a fit ended

A fit goes one way: `Request`, `TrainingData`, `Objective`, `Program`, `OptimizationRun`,
`History`. Positions come back from the run, chunk by chunk, into the model, the logs and the
checkpoints.
"""

from keras_smooth.lbfgs.fit import fit_lbfgs
from keras_smooth.lbfgs.resample import Resample, choose_by_residual
from keras_smooth.lbfgs.result import OptimizeResult, Status

__all__ = ["OptimizeResult", "Resample", "Status", "choose_by_residual", "fit_lbfgs"]
