"""What is known of each activation, layer and operation: one row each, and the look-up.

rows.py           what a row says, and the table
lookup.py         smoothness of anything, names, what to recommend; rows of users
jet_rules.py      how activations carry jets
operation_rules.py   how operations carry jets
samples.py        arguments with which an operation can be tried
activations.py    rows of Keras' activations
layers.py         rows of Keras' layers
operations.py     rows of the functions of keras.ops

The last three fill the table when this package is imported. The activations, stand-ins and
layers of keras_smooth add their own rows next to their definitions. How the operations of
TensorFlow carry jets is in the room `operations`.
"""

# isort: off
from keras_smooth.registry.rows import (
    Row,
    add,
    all_rows,
    change,
    least,
    operation_of_class,
    operation_row,
    row,
    settings,
    unbound,
)
from keras_smooth.registry.lookup import (
    activation_of,
    activation_rows,
    check_subject,
    function_names,
    has_name,
    name,
    named,
    nearest,
    recommended,
    register_smoothness,
    slope_at_zero,
    smoothness,
    smoothness_of_parts,
    tapes_wrong_from,
)
from keras_smooth.registry import activations  # noqa: F401  it fills the table
from keras_smooth.registry.layers import as_activation, of_activation
from keras_smooth.registry import operations  # noqa: F401  it fills the table
# isort: on

__all__ = [
    "Row",
    "activation_of",
    "activation_rows",
    "add",
    "all_rows",
    "as_activation",
    "change",
    "check_subject",
    "function_names",
    "has_name",
    "least",
    "name",
    "named",
    "nearest",
    "of_activation",
    "operation_of_class",
    "operation_row",
    "recommended",
    "register_smoothness",
    "row",
    "settings",
    "slope_at_zero",
    "smoothness",
    "smoothness_of_parts",
    "tapes_wrong_from",
    "unbound",
]
