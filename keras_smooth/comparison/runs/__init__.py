"""The runs of a comparison: one network, its training, and what is heard of it.

experiment.py    build a network from a seed, train it, measure y, y', y''
training.py      by fit_lbfgs or by Adam
learning.py      its loss and errors while it trains
events.py        what is told of runs while they are made
"""
