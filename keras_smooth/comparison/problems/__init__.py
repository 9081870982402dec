"""Problems that networks learn: rows of a table, data, or a function of the user.

exact.py       the table of functions with exact derivatives
columns.py     the columns of a text file
loading.py     loads a problem by name, from data or from a function
"""

from keras_smooth.comparison.problems.loading import (
    DOMAIN,
    OWN_DATA,
    OWN_FUNCTION,
    Problem,
    check_precision,
    load_problem,
    load_problems,
)
