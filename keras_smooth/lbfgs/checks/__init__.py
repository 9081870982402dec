"""Checks before a fit is compiled: errors, and warnings.

model.py      errors for models that fit_lbfgs cannot train
shapes.py     errors for x, targets or weights whose shapes do not fit the model
scales.py     warnings about inputs, targets and terms that are too large or small to learn from
"""
