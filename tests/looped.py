"""One test that goes through many cases, each of which costs less than an item of pytest."""

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def each(name: str, cases: Iterable) -> Callable:
    """Makes one test of a check: it tells of every case that fails.

    An item costs some 10 ms in each process that collects it. A loop is for checks that take
    less, draw no random numbers and hear no warnings: the fixtures are those of all cases.

    Args:
        name: The argument of the check.
        cases: Its values.
    """
    cases = list(cases)

    def decorate(check: Callable) -> Callable:
        @functools.wraps(check)
        def test(**fixtures: Any) -> None:
            failures = {
                str(getattr(case, "name", case)): failure
                for case in cases
                if (
                    failure := failure_of(
                        lambda case=case: check(**{name: case}, **fixtures)
                    )
                )
            }
            told = "\n".join(f"{case}: {failure}" for case, failure in failures.items())
            assert not failures, f"{len(failures)} of {len(cases)} cases fail:\n{told}"

        signature = inspect.signature(check)
        others = [each for each in signature.parameters.values() if each.name != name]
        test.__signature__ = signature.replace(parameters=others)
        return test

    return decorate


def failure_of(check: Callable[[], None]) -> str:
    """Returns how a check fails, or nothing."""
    try:
        check()
    except (Exception, pytest.fail.Exception):
        return traceback.format_exc(limit=-1)
    return ""
