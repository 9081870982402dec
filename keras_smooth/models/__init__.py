"""What is known of any Keras model.

graph.py            its parts, nested models included
calls.py            what each part was called with; calls that leave no trace
own_call.py         layers whose class has a `__call__` of its own
checked_inputs.py   what is asked of a model and of x
sample_inputs.py    inputs on which it can be run
references.py       functions that a layer holds, carried through its config by identity
state.py            all that a layer has learned, from one layer to another
agreement.py        how far two outputs are apart, and how far rounding may take them
configs.py          configs that Keras writes and its own classes refuse
identity.py         what tells whether arrays, traces and models are the same as before
tracing.py          functions that TensorFlow traces
copies.py           faithful copies of layers and models, compared with the original

Data goes from the graph and the inputs to recorded calls, and from those to copies.
"""
