"""What is refused before anything is compiled, and what only warns.

model.py      whether a model can be fitted
inputs.py     whether x fits its inputs
targets.py    whether targets and their weights fit its outputs
scales.py     advice: inputs and targets that a network does not learn from
"""
