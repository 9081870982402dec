"""Marks most of many similar cases as slow, so that fast runs have only a few of them."""

import pytest


def representatives(cases, chosen):
    """Marks all cases but the chosen ones as slow; a case is a name or a row of arguments."""
    rows = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [
        case if case in chosen else pytest.param(*row, marks=pytest.mark.slow)
        for case, row in zip(cases, rows)
    ]
