"""tools/mutations.py: the changes that it makes, and those that tests do not notice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def mutants(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(TOOLS), *sys.path])
    from mutations import mutants

    return mutants


CHANGES = {
    "a comparison": ("x < y", {"x <= y"}),
    "a chain of them": ("x < y != z", {"x <= y != z", "x < y == z"}),
    "a sum": ("x + y", {"x - y"}),
    "constants": ("f(0, 1, 2, True, 'a')", {
        "f(1, 1, 2, True, 'a')", "f(0, 0, 2, True, 'a')", "f(0, 1, 2, False, 'a')",
    }),
    "not": ("not x", {"x"}),
    "and": ("x and y", {"x or y", "x", "y"}),
    "a condition": ("x if y else z", {"x if not y else z"}),
    "a condition with not": ("x if not y else z", {"x if y else z"}),
    "entries": ("(x, y)", {"(x,)", "(y,)"}),
    "the only entry": ("[x]", set()),
    "an argument": ("f(x, y=z)", {"f(x)"}),
    "a filter": ("[x for x in y if x]", {"[x for x in y]"}),
    "text": ("f'{x} of {y}'", set()),
    "a key": ("{x: y, z: 5}", set()),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_made_alone(mutants, name):
    before, after = CHANGES[name]
    wrapped = '"""Text."""\na: (1, 0)\n\ndef f():\n    return {}'
    found = [text for _, text in mutants(wrapped.replace("{}", before))]
    without = wrapped.replace("return {}", "pass")
    assert sorted(found) == sorted(
        [without, *(wrapped.replace("{}", one) for one in after)]
    )


@pytest.mark.parametrize(
    "statement", ["x = y", "x += y", "f(x)", "del x", "raise x", "continue", "break"]
)
def test_a_statement_is_dropped(mutants, statement):
    source = f"while x:\n    {statement}\n    y.append(x)"
    assert source.replace(statement, "pass") in [text for _, text in mutants(source)]


# The tool three times in one process, since it imports Keras: with tests that look at one of three
# changes, that do not import the module, and that fail.
TESTS = [
    "import module\n\ndef test_larger():\n    assert module.larger(3, 2) == 3\n",
    "def test_nothing():\n    pass\n",
    "def test_all():\n    assert False\n",
]
RUNS = f"""
import contextlib, io, json, pathlib, sys
sys.path.insert(0, {str(TOOLS)!r})
import mutations
sys.argv = ["mutations.py", "module.py", "--", "test_module.py"]
for tests in {TESTS!r}:
    pathlib.Path("test_module.py").write_text(tests)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            end = mutations.main()
    except SystemExit as error:
        end = error.code
    print(json.dumps([printed.getvalue(), end]))
"""


@pytest.mark.slow
def test_what_the_tests_do_not_look_at_is_printed(tmp_path):
    (tmp_path / "module.py").write_text("def larger(x, y):\n    return x if x > y else y\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    done = subprocess.run(
        [sys.executable, "-c", RUNS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    looked_at, not_imported, failing = map(json.loads, done.stdout.splitlines())
    assert looked_at[0].splitlines() == [
        "module.py:2",
        "-    return x if x > y else y",
        "+    return x if x >= y else y",
        "1 of 3 changes were not noticed.",
    ]
    assert looked_at[1] == 1
    assert "do not import module.py of the copy" in not_imported[1]
    assert "fail without any change" in failing[1]
