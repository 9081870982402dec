"""The data of a fit: validated, and read into tensors.

data_reader.py      validates and reads the user's data
training_data.py    rows in memory or a dataset of batches, or points of an equation
micro_batches.py    value and gradient over all rows, batch by batch
"""
