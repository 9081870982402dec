"""The data of a fit: validated, and read into tensors.

data_reader.py      validates and reads the user's data
training_data.py    rows in memory, a dataset of batches, or the points of an objective
micro_batches.py    value and gradient of a loss over all rows, batch by batch
"""
