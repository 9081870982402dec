"""What is known of any Keras model.

graph.py            its parts, nested models included
calls.py            what each part was called with; calls that leave no trace
sample_inputs.py    inputs on which it can be run
copies.py           copies of layers and models in a dtype

Data goes from the graph and the inputs to recorded calls, and from those to copies.
"""
