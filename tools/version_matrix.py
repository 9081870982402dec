"""Tests the package with several versions of TensorFlow and Keras, and writes docs/versions.md.

    python tools/version_matrix.py                     # all rows, hours
    python tools/version_matrix.py --tests none        # installs and runs the main jobs
    python tools/version_matrix.py --only 2.16 2.18    # rows of these TensorFlows

In a new environment with a TensorFlow and a Keras, the built wheel is installed, and matplotlib by
the command in the package's error about it. No package that `pip freeze` lists before, and no file
of it, may be changed or removed afterwards. Then tools/smoke.py runs, and the tests of the sdist
with the extra `test`. A row of the page stays until it is run again. The interpreters are the
`pythonX.Y` on the path, or in the folders of `--pythons`.
"""

import argparse
import dataclasses
import datetime
import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "versions.md"
TESTS = {
    "none": None,
    "fast": ["-m", "not slow"],
    "whole": [],
}
# The last version of TensorFlow Probability for an old TensorFlow; new ones use the newest.
LAST_PROBABILITY = {"2.16": "0.24", "2.17": "0.24"}
COLUMNS = (
    "TensorFlow", "Keras", "Python", "changed packages", "main functions",
    "results of tests", "tests", "date",
)  # fmt: skip
# Prints the installed packages with a file that has changed since: another package, such as keras
# next to keras-nightly, may have overwritten it.
OVERWRITTEN = """
import base64, hashlib, importlib.metadata

def same(file):
    path = file.locate()
    digest = hashlib.new(file.hash.mode, path.read_bytes()).digest() if path.exists() else b""
    return base64.urlsafe_b64encode(digest).decode().rstrip("=") == file.hash.value

for package in importlib.metadata.distributions():
    if not all(same(file) for file in package.files or () if file.hash):
        print(package.name)
"""


@dataclasses.dataclass(frozen=True)
class Environment:
    """An environment: minor versions, the tests to run, and the names of the packages.

    With builds other than `tensorflow`, only tools/smoke.py runs: the extra `test` would install
    a second TensorFlow.
    """

    tensorflow: str
    keras: str
    python: str
    tests: str = "fast"
    build: str = "tensorflow"
    keras_build: str = "keras"

    @property
    def requirements(self) -> list[str]:
        """The arguments of pip that install TensorFlow and Keras."""
        versions = {self.build: self.tensorflow, self.keras_build: self.keras}
        # Keras' nightly builds, and packages that need them, are pre-releases.
        before = ["--pre"] if self.keras_build == "keras-nightly" else []
        return before + [f"{name}=={minor}.*" for name, minor in versions.items()]

    def cells(self, tensorflow: str, keras: str) -> list[str]:
        """The first cells of the row, with these versions."""
        return [
            tensorflow if self.build == "tensorflow" else f"{self.build} {tensorflow}",
            keras if self.keras_build == "keras" else f"{self.keras_build} {keras}",
            self.python,
        ]

    @property
    def probability(self) -> list[str]:
        """The requirements of the methods of TensorFlow Probability, for the tests."""
        last = LAST_PROBABILITY.get(self.tensorflow)
        older = [f"tensorflow-probability=={last}.*"] if last else []
        return [f"tf_keras=={self.tensorflow}.*", *older]


# Each TensorFlow with the oldest and the newest Keras for its Pythons.
ENVIRONMENTS = (
    Environment("2.16", "3.10", "3.10", "whole"),
    Environment("2.16", "3.15", "3.12"),
    Environment("2.17", "3.10", "3.11"),
    Environment("2.17", "3.15", "3.12"),
    Environment("2.18", "3.10", "3.12"),
    Environment("2.18", "3.15", "3.11"),
    Environment("2.19", "3.10", "3.12"),
    Environment("2.19", "3.15", "3.11"),
    Environment("2.20", "3.10", "3.13"),
    Environment("2.20", "3.15", "3.13"),
    Environment("2.21", "3.12", "3.10", "whole"),
    Environment("2.21", "3.15", "3.13", "whole"),
    # Other builds, and nightly builds.
    Environment("2.16", "3.12", "3.12", "none", "tensorflow-cpu"),
    Environment("2.21", "3.15", "3.13", "none", "tensorflow-cpu"),
    Environment("2.22", "3.16", "3.13", "none", "tensorflow", "keras-nightly"),
    Environment("2.23", "3.16", "3.13", "none", "tf-nightly", "keras-nightly"),
)


def main() -> int:
    """Tests the requested rows, and writes the page after each; returns 1 for failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", metavar="TENSORFLOW", help="such as 2.18")
    parser.add_argument("--keras", nargs="*", metavar="KERAS", help="such as 3.10")
    parser.add_argument("--build", nargs="*", metavar="NAME", help="such as tf-nightly")
    parser.add_argument("--tests", choices=TESTS, help="for all rows")
    parser.add_argument("--pythons", nargs="*", default=[], help="folders of interpreters")
    arguments = parser.parse_args()
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        wheel, sources = built(Path(folder))
        for row in ENVIRONMENTS:
            if arguments.only and row.tensorflow not in arguments.only:
                continue
            if arguments.keras and row.keras not in arguments.keras:
                continue
            if arguments.build and row.build not in arguments.build:
                continue
            if row.build == "tensorflow":
                row = dataclasses.replace(row, tests=arguments.tests or row.tests)
            found = tried(
                row, wheel, sources, Path(folder) / "environment", arguments.pythons
            )
            print(" | ".join(found), flush=True)
            write(found)
            passed = passed and found[3] == "nothing" and "fail" not in " ".join(found)
    return 0 if passed else 1


def built(folder: Path) -> tuple[Path, Path]:
    """Returns the wheel and the unpacked sdist."""
    run(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return wheel, folder / archive.name.removesuffix(".tar.gz")


def tried(
    row: Environment, wheel: Path, sources: Path, folder: Path, pythons: list[str]
) -> list[str]:
    """Returns the row of an environment, which is removed afterwards."""
    interpreter = shutil.which(
        f"python{row.python}", path=os.pathsep.join([*pythons, os.environ["PATH"]])
    )
    if interpreter is None:
        untried = ["not tried: no such Python"] * 3
        return [*row.cells(row.tensorflow, row.keras), *untried, "", ""]
    python = str(folder / "bin" / "python")
    try:
        run(interpreter, "-m", "venv", str(folder))
        pip = [python, "-m", "pip", "install", "--quiet"]
        run(*pip, *row.requirements)
        before, damaged = frozen(python), overwritten(python)
        run(*pip, str(wheel))
        run(*pip, "matplotlib", f"numpy=={before['numpy']}")
        changed = moved(before, frozen(python))
        changed += [f"files of {name}" for name in overwritten(python) - damaged]
        jobs = run(python, str(sources / "tools" / "smoke.py"), check=False)
        tests = "not run"
        if TESTS[row.tests] is not None:
            run(*pip, f"{wheel}[test]", *row.probability)
            changed += moved(before, frozen(python))
            tests = outcome(
                run(
                    python,
                    "-m",
                    "pytest",
                    "-q",
                    *TESTS[row.tests],
                    cwd=sources,
                    check=False,
                )
            )
        return [
            *row.cells(before[row.build], before[row.keras_build]),
            ", ".join(changed) or "nothing", "fail" if jobs.returncode else "run",
            tests, row.tests, datetime.date.today().isoformat(),
        ]  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(*command: str, cwd: Path | None = None, check: bool = True):
    """Runs a command, and prints its output if it fails."""
    print("+", *command, flush=True)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-3000:], sep="\n", flush=True)
    if check:
        done.check_returncode()
    return done


def frozen(python: str) -> dict[str, str]:
    """Returns the installed versions by name."""
    lines = run(python, "-m", "pip", "freeze").stdout.replace("_", "-").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def overwritten(python: str) -> set[str]:
    """Returns the packages with files that have changed since their installation."""
    return set(run(python, "-c", OVERWRITTEN).stdout.split())


def moved(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Returns a text for each package whose version has changed or that was removed."""
    return [
        f"{name} {version} to {after.get(name, 'none')}"
        for name, version in before.items()
        if after.get(name) != version
    ]


def outcome(done: subprocess.CompletedProcess) -> str:
    """Returns the numbers of passed and failed tests of a run of pytest."""
    last = (done.stdout.strip().splitlines() or [""])[-1]
    counts = re.findall(r"\d+ (?:passed|failed|errors?)", last)
    return ", ".join(counts) or f"fail: exit status {done.returncode}"


def write(found: list[str]) -> None:
    """Writes a row into the table of the page, in place of an older one of these versions."""
    lines = PAGE.read_text().splitlines()
    first = lines.index("| " + " | ".join(COLUMNS) + " |") + 2
    table = list(itertools.takewhile(lambda line: line.startswith("|"), lines[first:]))
    rows = [line.strip("| ").split(" | ") for line in table]
    rows = [row for row in rows if environment(row) != environment(found)] + [found]
    written = ["| " + " | ".join(row) + " |" for row in sorted(rows, key=environment)]
    lines[first : first + len(table)] = written
    PAGE.write_text("\n".join(lines) + "\n")


def environment(row: list[str]) -> list[tuple[str, int, int]]:
    """Returns builds and minor versions of a row, which identify and sort it."""
    cells = [re.fullmatch(r"(.*? ?)(\d+)\.(\d+).*", cell).groups() for cell in row[:3]]
    return [(name, int(major), int(minor)) for name, major, minor in cells]


if __name__ == "__main__":
    sys.exit(main())
