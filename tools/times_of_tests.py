"""Writes the table of CONTRIBUTING.md with the times of groups of tests, and their purpose.

    python -m pytest --junitxml=all.xml
    python -m pytest -m "not slow" --junitxml=fast.xml
    python tools/times_of_tests.py all.xml fast.xml --write CONTRIBUTING.md

Seconds are the sum of the times of the items. A run on n processes takes an n-th of it, plus the
time to import TensorFlow and to collect the tests.
"""

import argparse
import collections
import fnmatch
import re
import xml.etree.ElementTree
from pathlib import Path

# For each group, patterns of names of test files without "test_", and what it checks. A file
# belongs to the first group that matches.
GROUPS = {
    "operations and rules": (
        "operation* rules jet float64_program raw_graphs fuzz walk tracing declared_gradients "
        "lost_in_composition loops smooth_maximum registry special_points",
        "values to the last bit, jets and tapes against differences, classes at every breakpoint",
    ),
    "operators": (
        "taylor partials operators linear_operators vector_calculus estimators shapes points "
        "differences losses_of_derivatives derivative_model properties equations_on_paper "
        "without_trace independence callbacks identity gpu",
        "derivatives against closed forms and nested tapes, shapes, `wrt`, dtypes, batches",
    ),
    "the zoo": (
        "zoo",
        "every public function with every model: right numbers, or a clear error",
    ),
    "models as people write them": (
        "models_people_write wrong_numbers legitimate_use saved_models copies own_modules "
        "quantized_models",
        "each problem that users reported, with similar cases",
    ),
    "verification": (
        "verification agreements",
        "wrong numbers are refused, and right ones pass",
    ),
    "activations and layers": (
        "activations exact_layers layers initializers",
        "Keras' signatures, outputs and weights; classes, saving",
    ),
    "audit and smoothen": (
        "audit* smoothing sweep",
        "verdicts on models whose derivatives are known, and their reasons",
    ),
    "minimizers": (
        "minimizers",
        "memories against dense matrices, line searches, the problems of More, Garbow and Hillstrom",
    ),
    "fit_lbfgs": (
        "lbfgs*",
        "data, losses, objectives, callbacks, resuming from checkpoints bit for bit, devices",
    ),
    "compare and the command line": (
        "comparison* killed_comparisons cli ray atomic_files",
        "records, resuming after processes are killed, reports, executors, options",
    ),
    "pages and examples": (
        "documented_code examples notebook pictures *_benchmark *_benchmarks track other_projects",
        "each block of code runs alone, each example in a short form",
    ),
    "conventions": (
        "*",
        "imports, names and docstrings; invalid arguments raise errors",
    ),
    "docstrings": ("", "examples of the public functions"),
}


def group_of(file: str) -> str:
    """Returns the group of a module by its dotted name or path."""
    last = file.removesuffix(".py").replace("/", ".").rpartition(".")[2]
    if not last.startswith("test_"):
        return "docstrings"
    name = last.removeprefix("test_")
    return next(
        group
        for group, (patterns, _) in GROUPS.items()
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns.split())
    )


def counted(path: str) -> collections.Counter:
    """Returns the items and seconds of each group in a report of pytest."""
    counts: collections.Counter = collections.Counter()
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        # The name of a class follows that of its module; only classes begin with a capital letter.
        parts = case.get("classname", "").split(".")
        module = ".".join(part for part in parts if not part[:1].isupper())
        group = group_of(module)
        counts[group, "items"] += 1
        counts[group, "seconds"] += float(case.get("time", 0.0))
    return counts


def table(reports: list[str]) -> str:
    """Returns the table: items and seconds of each report by group, and what it checks."""
    results = [counted(path) for path in reports]
    # The first report is of all tests, the second of those that are not slow.
    columns = ["items | seconds", "not slow | seconds"][: len(reports)]
    lines = [
        f"| tests of | {' | '.join(columns)} | check |",
        "| --- | " + " | ".join("---: | ---:" for _ in reports) + " | --- |",
    ]
    for group, (_, checks) in GROUPS.items():
        cells = [
            f"{counts[group, 'items']} | {counts[group, 'seconds']:.0f}"
            for counts in results
        ]
        lines.append(f"| {group} | {' | '.join(cells)} | {checks} |")
    return "\n".join(lines)


# Matches the table between two comments of a page.
PLACE = r"(?<=<!-- times of tests -->\n).*?(?=\n<!-- end of times -->)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("reports", nargs="+", help="files of pytest --junitxml")
    parser.add_argument("--write", type=Path, help="the page whose table is replaced")
    arguments = parser.parse_args()
    text = table(arguments.reports)
    print(text)
    if arguments.write:
        page = arguments.write.read_text()
        arguments.write.write_text(re.sub(PLACE, lambda match: text, page, flags=re.DOTALL))


if __name__ == "__main__":
    main()
