"""What a fit minimizes: a function of one vector of weights.

variables.py          what is trained: variables of Keras and of TensorFlow
exact_losses.py       compiled losses and their weights, in the dtype of the weights
compiled_loss.py      the loss of a compiled model
terms.py              the objective of a user
objective.py          either of them, with its gradient; what training changes without one
residuals.py          what is squared, and its Jacobian, if a method needs it
float64_copy.py       a copy of a model that computes in float64
sharding.py           data at once, in batches or on several devices, each with a share of the rows
"""
