"""Full-batch L-BFGS for Keras models.

fit.py               fit_lbfgs: its arguments, and the order of things
options.py           the options of a fit, checked once
passed.py            what a user passed as data, and what of it goes together
reading.py           what users pass as data, checked and read
data.py              data: rows in memory or a stream of batches, or points of an equation
model_checks.py      whether a model can be fitted
inputs.py            whether x fits its inputs
targets.py           whether targets and their weights fit its outputs
advice.py            what only warns, and can never end a fit
scales.py            whether both are of a size that it learns from
class_weights.py     weights of classes, made into weights of rows as Keras' `fit` makes them
float64_copy.py      a copy of a model that computes in float64
exact_losses.py      compiled losses in the dtype of the weights
loss_weights.py      the weights of these losses
losses.py            the loss of a compiled model
variables.py         what is trained: variables of Keras and of TensorFlow
terms.py             the objective of a user's own
resample.py          points that are drawn anew
objective.py         either of them as a function of one vector of weights
micro_batches.py     it over all rows, one batch after another
replicas.py          it on several devices
layout.py            data laid out for one of these
minimizers/          minimizers of a function of one vector
without_xla.py       a minimizer of what XLA cannot compile
fingerprints.py      whether two traces compute the same
program.py           objective and minimizer, compiled once a model
moving_averages.py   what training moves without a gradient
minimization.py      all of this for one fit, and the way back to the model
descent.py           the minimizer's way from a start: restarts and an honest end
result.py            how it ended
history.py           what is returned: the logs, and how it ended
progress.py          what a person sees while it goes on
whole_files.py       files that are whole or not there
checkpoint.py        those of a fit, checked when they are read
resume.py            what is in them, and how a fit goes on
logs.py              what callbacks are told
metrics.py           the metrics of a model on several devices
digests.py           hashes of arrays
finite.py            where an array is not finite

Options and data go down this list: from `fit_lbfgs` through the checks to an objective, a
program and a minimization. Positions come back from a descent, chunk by chunk, into the model,
the logs and the checkpoints.
"""

from keras_smooth.lbfgs.fit import fit_lbfgs
from keras_smooth.lbfgs.resample import Resample, choose_by_residual
from keras_smooth.lbfgs.result import OptimizeResult, Status

__all__ = ["OptimizeResult", "Resample", "Status", "choose_by_residual", "fit_lbfgs"]
