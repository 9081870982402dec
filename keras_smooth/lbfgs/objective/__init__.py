"""The objective of a fit: a loss as a function of one vector of weights.

variables.py          the variables that are trained, of Keras and of TensorFlow
exact_losses.py       compiled losses and their weights, in the dtype of the model's weights
compiled_loss.py      the loss of a compiled model
terms.py              the terms of a user's objective
objective.py          one of these two as a function of a vector, with its gradient
jacobians.py          how a Jacobian is computed, by rows or entry by entry
residuals.py          residuals and their Jacobian, for methods that need them
float64_copy.py       a copy of a model that computes in float64
sharding.py           the data as one batch, in batches, or shared among several devices
"""
