"""tools/mutations.py: the mutations, and the report of those that tests do not notice."""

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


MUTATIONS = {
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


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mutation_is_made_separately(mutants, name):
    before, after = MUTATIONS[name]
    template = '"""Text."""\na: (1, 0)\n\ndef f():\n    return {}'
    mutated = [text for _, text in mutants(template.replace("{}", before))]
    without_return = template.replace("return {}", "pass")
    assert sorted(mutated) == sorted(
        [without_return, *(template.replace("{}", expression) for expression in after)]
    )


@pytest.mark.parametrize(
    "statement", ["x = y", "x += y", "f(x)", "del x", "raise x", "continue", "break"]
)
def test_statement_is_removed(mutants, statement):
    source = f"while x:\n    {statement}\n    y.append(x)"
    assert source.replace(statement, "pass") in [text for _, text in mutants(source)]


# Three runs of the tool in one process, since it imports Keras: with tests that miss one of three
# mutations, that do not import the module, and that fail.
TEST_FILES = [
    "import module\n\ndef test_larger():\n    assert module.larger(3, 2) == 3\n",
    "def test_nothing():\n    pass\n",
    "def test_all():\n    assert False\n",
]
PROGRAM = f"""
import contextlib, io, json, pathlib, sys
sys.path.insert(0, {str(TOOLS)!r})
import mutations
sys.argv = ["mutations.py", "module.py", "--", "test_module.py"]
for tests in {TEST_FILES!r}:
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
def test_unnoticed_mutations_are_printed(tmp_path):
    (tmp_path / "module.py").write_text("def larger(x, y):\n    return x if x > y else y\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    unnoticed, not_imported, failing = map(json.loads, process.stdout.splitlines())
    assert unnoticed[0].splitlines() == [
        "module.py:2",
        "-    return x if x > y else y",
        "+    return x if x >= y else y",
        "1 of 3 changes were not noticed.",
    ]
    assert unnoticed[1] == 1
    assert "do not import module.py of the copy" in not_imported[1]
    assert "fail without any change" in failing[1]
