"""What is refused before anything is compiled, and what only warns.

model.py      whether a model can be fitted
shapes.py     whether x fits its inputs, and targets and their weights its outputs
scales.py     advice: inputs, targets and terms that a network does not learn from
"""
