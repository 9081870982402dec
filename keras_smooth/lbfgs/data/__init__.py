"""Data of a fit, from what a user passes to tensors.

data_reader.py      what users pass, checked and read
array_checks.py     whether an array can be used
class_weights.py    weights of classes, made into weights of rows as Keras' `fit` makes them
training_data.py    rows in memory or a dataset of batches, or points of an equation
micro_batches.py    value and gradient over all rows, one batch after another
"""
