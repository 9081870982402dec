"""Functions for any Keras model.

graph.py            its layers, nested models included
calls.py            the arguments of each call of a layer; calls that leave no trace
own_call.py         layers whose class has a `__call__` of its own
checked_inputs.py   validation of a model and of x
sample_inputs.py    inputs on which a model can be run
references.py       functions that a layer holds, carried through its config by identity
state.py            all that a layer has learned, from one layer to another
agreement.py        how far two outputs are apart, and how far rounding may move them
configs.py          configs that Keras writes and its own classes do not accept
identity.py         whether arrays, traces and models are the same as before
tracing.py          functions that TensorFlow traces
copies.py           faithful copies of layers and models, compared with the original
standardization.py  a model between scales of its inputs and outputs

Data flows from the graph and the inputs to recorded calls, and from these to copies.
"""
