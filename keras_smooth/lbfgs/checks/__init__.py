"""Errors before anything is compiled, and warnings.

model.py      whether a model can be fitted
shapes.py     whether x fits its inputs, and targets and their weights its outputs
scales.py     warnings of the sizes of inputs and targets
"""
