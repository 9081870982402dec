"""Tests the package with models of other projects, and writes docs/other_projects.md.

    python tools/other_projects.py                 # all, an hour
    python tools/other_projects.py --only kgcnn    # a row of PROJECTS

For each project, TensorFlow, the project and then this package, which may not change the version of
another package, are installed in a new environment, in which the script in tools/projects/ runs.
The lines of a project stay in the page until it is run again.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from version_matrix import frozen, moved, run

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "other_projects.md"
COLUMNS = ("project", "model", "what", "how it ended", "off by", "date")
TIME_LIMIT = 1800


@dataclasses.dataclass(frozen=True)
class Project:
    """A package on PyPI, its script in tools/projects/, and further arguments of pip install."""

    name: str
    script: str
    needs: tuple[str, ...] = ()


PROJECTS = (
    Project("bayesflow", "with_bayesflow.py"),
    Project("deepxde", "with_deepxde.py", ("tf_keras",)),
    Project("keras-hub", "with_keras_hub.py"),
    Project("keras-sciml", "with_keras_sciml.py"),
    Project("keras-sig", "with_keras_sig.py", ("jax",)),  # always imports JAX
    Project("keras-tuner", "with_keras_tuner.py", ("tensorboard",)),
    Project("kgcnn", "with_kgcnn.py"),
    Project("omnibias-keras", "with_omnibias.py", ("--pre",)),
    Project("scikeras", "with_scikeras.py"),
)


def main() -> int:
    """Tests the requested projects, and writes the page after each; returns 1 for failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", metavar="NAME", help="such as kgcnn")
    parser.add_argument("--python", default=sys.executable, help="interpreter to use")
    arguments = parser.parse_args()
    good = True
    for project in PROJECTS:
        if arguments.only and project.name not in arguments.only:
            continue
        lines = tried(project, arguments.python)
        write(project, lines)
        good = good and not any(line[3].startswith(("fails", "wrong")) for line in lines)
    return 0 if good else 1


def tried(project: Project, interpreter: str) -> list[list[str]]:
    """Returns the lines of a project, tested in an environment that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        run(interpreter, "-m", "venv", folder)
        python = str(Path(folder) / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet"]
        run(*pip, "tensorflow", *project.needs, project.name)
        before = frozen(python)
        run(*pip, str(ROOT))
        name = f"{project.name} {version(before, project.name)}"
        diff = moved(before, frozen(python))
        installed = ["", "installed next to it", ", ".join(diff) or "changes nothing", ""]
        lines = [installed, *output(python, project.script)]
    today = datetime.date.today().isoformat()
    return [[name, *line, today] for line in lines]


def version(installed: dict[str, str], name: str) -> str:
    """Returns the version of a package, whose name may have another case in `installed`."""
    return {key.lower(): value for key, value in installed.items()}[name]


def output(python: str, script: str) -> list[list[str]]:
    """Returns the lines that a script has printed: model, test, result, relative error."""
    path = ROOT / "tools" / "projects" / script
    done = subprocess.run(
        [python, str(path)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    print(done.stderr[-6000:], flush=True)
    printed = [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"]
    lines = [[trial["model"], *line] for trial in printed for line in trial["lines"]]
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        lines.append(["", "the script", f"fails: {last}", ""])
    return lines


def write(project: Project, lines: list[list[str]]) -> None:
    """Writes the lines of a project into the table of the page, in place of its older ones."""
    page = PAGE.read_text().splitlines()
    first = page.index("| " + " | ".join(COLUMNS) + " |") + 2
    table = list(itertools.takewhile(lambda line: line.startswith("|"), page[first:]))
    others = [line for line in table if not line.startswith(f"| {project.name} ")]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    new = ["| " + " | ".join(line) + " |" for line in cells]
    # The sort is stable: the lines of a project stay in their order.
    page[first : first + len(table)] = sorted(
        [*others, *new], key=lambda line: line.split()[1]
    )
    PAGE.write_text("\n".join(page) + "\n")


if __name__ == "__main__":
    sys.exit(main())
