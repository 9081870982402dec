"""Counts in words, such as "1 row" and "2 rows"."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns a count with its noun, in the singular for 1.

    Args:
        number: The count.
        noun: The noun in the singular.
        plural: Its plural, by default with an s.
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
