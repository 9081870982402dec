"""One test with a loop over many cases, each of which costs less than an item of pytest."""

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from fresh_start import fresh_start


def each(name: str, cases: Iterable) -> Callable:
    """Makes one test of a check, which runs all cases and reports each that fails.

    An item costs some milliseconds in every process that collects or runs it, and some more
    to report. Each case starts like a test, but all cases share the other fixtures.

    Args:
        name: The argument of the check.
        cases: Its values, reported by their names if they have one.
    """
    cases = list(cases)

    def decorate(check: Callable) -> Callable:
        @functools.wraps(check)
        def test(**fixtures: Any) -> None:
            failures = []
            for case in cases:
                if failure := _failure(
                    functools.partial(check, **{name: case}, **fixtures)
                ):
                    failures.append(f"{getattr(case, 'name', case)}: {failure}")
            report = "\n".join(failures)
            assert not failures, f"{len(failures)} of {len(cases)} cases fail:\n{report}"

        signature = inspect.signature(check)
        fixtures = [each for each in signature.parameters.values() if each.name != name]
        test.__signature__ = signature.replace(parameters=fixtures)
        return test

    return decorate


def _failure(check: Callable[[], None]) -> str:
    """Returns the traceback of a check that fails, or an empty string."""
    try:
        with fresh_start():
            check()
    except (Exception, pytest.fail.Exception):
        return traceback.format_exc(limit=-2)
    return ""
