"""The registry: facts about activations and layers that their operations do not show.

rows.py           the columns of a row, and the table
lookup.py         `smoothness`, `register_smoothness`; activations by name; recommendations
reading.py        smoothness from the operations that TensorFlow traces
functions_of_keras.py   the function of keras.ops for an operation in a graph
joined.py         rows of functions that are smoother than their operations show
activations.py    rows of Keras' activations
layers.py         layers that only apply an activation, and classes with a fixed smoothness

The rows of the activations and stand-ins of keras_smooth are next to their definitions. The facts
about operations of TensorFlow are in the module `operations`.
"""

# isort: off
from keras_smooth.registry.rows import Row, add, all_rows, change, row, unbound
from keras_smooth.registry.functions_of_keras import function_of, settings
from keras_smooth.registry.reading import facts_of
from keras_smooth.registry.lookup import (
    activation_of,
    activation_rows,
    check_subject,
    function_names,
    has_derivatives,
    has_name,
    register_name,
    named,
    reading_of_layer,
    recommended,
    register_smoothness,
    registered_smoothness,
    smoothness,
    tapes_right_to,
)
from keras_smooth.registry import activations  # It fills the table.
from keras_smooth.registry.layers import add_class, as_activation
# isort: on
