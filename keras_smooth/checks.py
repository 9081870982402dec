"""The check of an argument that is a whole number."""

import operator


def whole_number(name: str, value: object, least: int) -> int:
    """Returns an argument as an integer.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is below the least one.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, received {value!r}.") from None
    if number < least or isinstance(value, bool):
        raise ValueError(f"{name} must be {least} or more, received {value!r}.")
    return number
