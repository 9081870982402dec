"""The equations of examples/, run one after another: docs/equations.md and its figures.

    python benchmarks/equations.py [--only burgers poisson] [--seeds 3] [--out docs]

Seconds are CPU seconds of the whole script, imports and compilation included. Of several seeds the
page has the median, and the range of the errors. A row that is not run again is kept as it is.
"""

import argparse
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


HEAD = """# Equations

Each equation is solved by a PINN in a short script in `examples/`, which uses public functions only and
begins with a description of its method. The table was measured by `python benchmarks/equations.py --seeds 3`,
on one core of a shared machine. It has medians of seeds 0 to 2, with the range of the errors. Seconds are CPU
seconds of the whole script.

Errors are relative L2 errors of the solution, of the coefficients for the oscillator, and of the frequency
for the molecule.

These scripts use more prior knowledge than most published ones, such as symmetries, the position of a front,
or the solution of one part of the equation. Each script says what it uses. So the numbers compare results,
not methods. A published number with a star is quoted from another publication, since the source was not
available.

| equation | script | error | CPU seconds | iterations | published | where |
| --- | --- | --- | --- | --- | --- | --- |"""


NUMBERS = ("error", "seconds", "iterations")


class Row(NamedTuple):
    """An equation: what it is called, and what was published of it and where."""

    title: str
    published: str
    where: str


_RAISSI = "[Raissi et al., 2019](https://arxiv.org/abs/1711.10561)"
_KIYANI = "[Kiyani et al., 2025](https://arxiv.org/abs/2501.16371)"

ROWS = {
    "poisson": Row(
        "Poisson on the unit square",
        "1e-6 to 1e-8",
        "[Mueller and Zeinhofer, 2023](https://arxiv.org/abs/2302.13163), by energy natural "
        "gradients",
    ),
    "helmholtz": Row(
        "Helmholtz, sin(pi x) sin(4 pi y)",
        "1.5e-3",
        "[Wang, Teng and Perdikaris, 2021](https://arxiv.org/abs/2001.04536), the best of table 2",
    ),
    "burgers": Row(
        "Burgers, viscosity 0.01/pi",
        "6.7e-4; 1.6e-8*",
        f"{_RAISSI}; {_KIYANI}, by dense self-scaled Broyden",
    ),
    "allen_cahn": Row(
        "Allen-Cahn",
        "5.4e-5; 9.4e-7*",
        "README of [jaxpi](https://github.com/PredictiveIntelligenceLab/jaxpi); "
        f"{_KIYANI}, by dense self-scaled Broyden",
    ),
    "korteweg_de_vries": Row(
        "Korteweg-de Vries, two solitons",
        "none for these; nearest 2.2e-6*",
        "[npj Artificial Intelligence, 2025]"
        "(https://www.nature.com/articles/s44387-026-00084-4), two others on [0, 20] x [0, 5], "
        "by dense self-scaled Broyden",
    ),
    "schroedinger": Row(
        "nonlinear Schroedinger from 2 / cosh(x)",
        "2.0e-3",
        f"{_RAISSI}, periodic in x",
    ),
    "kuramoto_sivashinsky": Row(
        "Kuramoto-Sivashinsky",
        "3.5e-4*",
        "[Wang, Sankaran and Perdikaris, 2022](https://arxiv.org/abs/2203.07404), in windows of "
        "time as well",
    ),
    "heat": Row(
        "heat in ten dimensions",
        "none for this; nearest 1.2e-4*",
        "[PINNacle, Hao et al., 2024](https://arxiv.org/abs/2306.08827), in five dimensions, by "
        "L-BFGS",
    ),
    "oscillator": Row(
        "damping and stiffness of an oscillator",
        "none for this; nearest 9.9e-3",
        "[Pishro et al., 2025](https://www.mdpi.com/2075-5309/15/21/3960), the damping of a "
        "driven one, from noisy samples",
    ),
    "vibrations": Row(
        "frequency of a molecule by its Hessian",
        "none for this; nearest 3e-4 to 8e-4",
        "[Kaeser et al., 2020](https://arxiv.org/abs/2006.16752), formaldehyde: about 1 per cm of "
        "1200 to 3000, by PhysNet",
    ),
}


def run(name: str, seed: int, *arguments: str) -> dict[str, float]:
    """Runs an example and returns what it prints, by name."""
    script = ROOT / "examples" / f"{name}.py"
    command = [sys.executable, str(script), "--seed", str(seed), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    pattern = re.compile(rf"^({'|'.join(NUMBERS)}) (\S+)$", re.MULTILINE)
    return {key: float(number) for key, number in pattern.findall(done.stdout)}


def measured(name: str, num_seeds: int, images: Path) -> dict[str, str]:
    """Returns the cells of a row, and draws the figure of seed 0."""
    images.mkdir(parents=True, exist_ok=True)
    runs = [run(name, 0, "--figure", str(images / f"{name}.png"))]
    runs += [run(name, seed) for seed in range(1, num_seeds)]
    columns = {key: sorted(run[key] for run in runs) for key in NUMBERS}
    middle = {key: statistics.median(values) for key, values in columns.items()}
    errors = columns["error"]
    spread = f" ({errors[0]:.1e} to {errors[-1]:.1e})" if num_seeds > 1 else ""
    return {
        "error": f"{middle['error']:.1e}{spread}",
        "seconds": f"{middle['seconds']:.0f}",
        "iterations": f"{middle['iterations']:.0f}",
    }


def page(results: dict[str, dict[str, str]]) -> str:
    lines = [HEAD]
    found = {name: row for name, row in ROWS.items() if name in results}
    for name, row in found.items():
        numbers = " | ".join(results[name][key] for key in NUMBERS)
        script = f"[{name}.py](../examples/{name}.py)"
        lines.append(
            f"| {row.title} | {script} | {numbers} | {row.published} | {row.where} |"
        )
    for name, row in found.items():
        lines += ["", f"## {row.title}", "", f"![{row.title}](images/{name}.png)"]
    return "\n".join([*lines, ""])


def kept(path: Path) -> dict[str, dict[str, str]]:
    """Returns the results of a page that was written before."""
    text = path.read_text() if path.exists() else ""
    rows = re.findall(r"/(\w+)\.py\) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", text)
    return {name: dict(zip(NUMBERS, numbers)) for name, *numbers in rows}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0 on")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    path = arguments.out / "equations.md"
    results = kept(path)
    for name in arguments.only:
        results[name] = measured(name, arguments.seeds, arguments.out / "images")
        print(name, results[name], flush=True)
        path.write_text(page(results))


if __name__ == "__main__":
    main()
