"""The runs of a comparison: one network, its training, and events.

experiment.py    build a network from a seed, train it, measure y, y', y''
training.py      by fit_lbfgs or by Adam
learning.py      its loss and errors while it trains
events.py        events of runs in progress
"""
