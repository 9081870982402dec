"""The equations of examples/, run one after another: docs/equations.md and its figures.

    python benchmarks/equations.py [--only burgers poisson] [--out docs]

Errors are relative L2 errors of the whole solution, seconds are CPU seconds of the whole script,
imports and compilation included. A row that is not run again is kept as it is.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


HEAD = """# Equations

Scripts of a page in `examples/`, by the public functions alone. Each says in its
first lines how it does it. Measured by `python benchmarks/equations.py`, seed 0, on a machine that
others use as well; seconds are CPU seconds of the whole script.

Ours are told more than most that were published: symmetries, where a front is, what a half of the
equation does alone. Each script says what. The numbers compare ends, not methods.

| equation | script | relative L2 error | iterations | CPU seconds | published |
| --- | --- | --- | --- | --- | --- |"""


NUMBERS = ("error", "iterations", "seconds")


class Row(NamedTuple):
    """An equation: what it is called, and what was published of it and where."""

    title: str
    published: str


ROWS = {
    "poisson": Row(
        "Poisson on the unit square",
        "1e-6 to 1e-8 by energy natural gradient descent, "
        "[Mueller and Zeinhofer, 2023](https://arxiv.org/abs/2302.13163)",
    ),
    "helmholtz": Row("Helmholtz, sin(pi x) sin(4 pi y)", "not found in a source at hand"),
    "burgers": Row("Burgers, viscosity 0.01/pi", "not found in a source at hand"),
    "allen_cahn": Row(
        "Allen-Cahn",
        "5.37e-05, README of [jaxpi](https://github.com/PredictiveIntelligenceLab/jaxpi)",
    ),
    "korteweg_de_vries": Row(
        "Korteweg-de Vries, two solitons", "not found in a source at hand"
    ),
    "schroedinger": Row(
        "nonlinear Schroedinger from 2 / cosh(x)", "not found in a source at hand"
    ),
    "heat": Row("heat in ten dimensions", "not found in a source at hand"),
}


def measured(name: str, images: Path) -> dict[str, str]:
    """Runs an example and returns what it prints, by name."""
    images.mkdir(parents=True, exist_ok=True)
    script = ROOT / "examples" / f"{name}.py"
    command = [sys.executable, str(script), "--figure", str(images / f"{name}.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    pattern = re.compile(rf"^({'|'.join(NUMBERS)}) (\S+)$", re.MULTILINE)
    return dict(pattern.findall(done.stdout))


def page(results: dict[str, dict[str, str]]) -> str:
    lines = [HEAD]
    found = {name: row for name, row in ROWS.items() if name in results}
    for name, row in found.items():
        numbers = " | ".join(results[name][k] for k in NUMBERS)
        script = f"[{name}.py](../examples/{name}.py)"
        lines.append(f"| {row.title} | {script} | {numbers} | {row.published} |")
    for name, row in found.items():
        lines += ["", f"## {row.title}", "", f"![{row.title}](images/{name}.png)"]
    return "\n".join([*lines, ""])


def kept(path: Path) -> dict[str, dict[str, str]]:
    """Returns the results of a page that was written before."""
    text = path.read_text() if path.exists() else ""
    rows = re.findall(r"/(\w+)\.py\) \| (\S+) \| (\S+) \| (\S+) \|", text)
    return {name: dict(zip(NUMBERS, numbers)) for name, *numbers in rows}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    path = arguments.out / "equations.md"
    results = kept(path)
    for name in arguments.only:
        results[name] = measured(name, arguments.out / "images")
        print(name, results[name], flush=True)
        path.write_text(page(results))


if __name__ == "__main__":
    main()
