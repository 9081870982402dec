"""The runs of a comparison: building, training and measuring one network.

experiment.py    builds a network from a seed, trains it, measures y, y', y''
training.py      the training, by fit_lbfgs or by Adam
learning.py      the loss and the errors during training
record.py        the results of a run
events.py        events of runs in progress
"""
