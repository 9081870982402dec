"""Full-batch L-BFGS for Keras models.

fit.py         fit_lbfgs
request.py     the arguments of fit_lbfgs, validated once
resample.py    points that are drawn again during a run
data/          the user's data, validated and read
objective/     the loss as a function of one vector of weights
checks/        errors and warnings before a fit
minimizers/    minimizers of a function of one vector
run/           the compiled program, the iterations and the checkpoints of a fit
progress.py    the progress of a fit on a screen or in a log
history.py     the `History` that fit_lbfgs returns
logs.py        the logs of callbacks and `History`
result.py      how a fit ended

A fit uses these classes in this order: `Request`, `TrainingData`, `Objective`, `Program`,
`OptimizationRun`, `History`. After each chunk of iterations, the weights are written to the model,
the logs are computed, and a checkpoint is saved.
"""

from keras_smooth.lbfgs.fit import fit_lbfgs
from keras_smooth.lbfgs.resample import Resample, choose_by_residual
from keras_smooth.lbfgs.result import OptimizeResult, Status
