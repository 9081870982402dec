"""Functions for any Keras model.

graph.py            the layers of a model, nested models included
calls.py            the arguments of each call of a layer; calls without side effects
own_call.py         layers whose class has a `__call__` of its own
checked_inputs.py   validation of a model and of its inputs x
sample_inputs.py    inputs on which a model can be run
references.py       functions of a layer, restored by identity when its config is read
state.py            the state of a layer, copied to another layer
agreement.py        the distance of two outputs, and the distance that rounding may cause
identity.py         whether arrays, traces and models are the same as before
tracing.py          functions that TensorFlow traces
copies.py           faithful copies of layers and models, compared with the original
standardization.py  a model whose inputs and outputs are scaled

Graph and inputs lead to recorded calls, and these to copies. In the docstrings, a "layer" is a
layer, a model or another keras.Operation.
"""
