"""The command line: arguments only."""

import argparse
import importlib
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import keras_smooth
from keras_smooth import checks
from keras_smooth.auditing import model_files, progress
from keras_smooth.auditing.findings import MODES
from keras_smooth.comparison import (
    article,
    columns,
    comparing,
    display,
    executors,
    lock,
    problems,
    report,
    resuming,
    termination,
)
from keras_smooth.comparison.results import Results
from keras_smooth.comparison.settings import (
    ALL,
    DEVICES,
    DTYPES,
    TRAINING_METHODS,
    Settings,
    all_activations,
)
from keras_smooth.differentiation.engines import MAX_ORDER

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130
DEFAULT_OUT = "comparison"
BESIDE = ("tfp_lbfgs", "adam")
QUICK = {"seeds": 1, "epochs": 100}
# Options of version 0.1.0, and the words that fit_lbfgs has for the same things.
RENAMED = {"iterations": "epochs", "optimizer": "method"}


def _integer(text: str) -> int:
    """Returns the number that ASCII digits write: Python reads 1_0, and other scripts, too."""
    if not re.fullmatch("[+-]?[0-9]{1,1000}", text):
        raise argparse.ArgumentTypeError(
            f"must be an integer such as 10, received {checks.shown(text)}"
        )
    return int(text)


def _number(text: str) -> float:
    """Returns a number that is written as in a CSV file."""
    if not columns.NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"must be a number such as 0.1, received {checks.shown(text)}"
        )
    return float(text)


def _list(metavar: str, least: str = "+") -> dict[str, Any]:
    return {"nargs": least, "metavar": metavar}


MAIN = Settings().main
# The options that are settings of a comparison: what help says, and how they are read.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "activations": (
        "names of this package's or Keras' activations, apart by spaces or commas; "
        f"{ALL} for all (default: {' '.join(article.ACTIVATIONS)})",
        _list("NAME"),
    ),
    "seeds": (
        f"number of runs of each activation (default: {Settings.seeds})",
        {"type": _integer},
    ),
    "epochs": (f"iterations of each run (default: {Settings.epochs})", {"type": _integer}),
    "method": (f"{' | '.join(TRAINING_METHODS)} (default: {MAIN.method})", _list("NAME")),
    "initializer": (
        "'default', the start of keras_smooth.Dense, or names of Keras initializers",
        _list("NAME"),
    ),
    "dtype": (f"{' | '.join(DTYPES)} (default: {MAIN.dtype})", _list("NAME")),
    "device": (f"{' | '.join(DEVICES)} (default: {Settings.device})", {}),
    "problem": (
        f"{' | '.join(problems.NAMES)}, or a CSV file with columns x, y and optionally dy, "
        f"d2y (default: {MAIN.problem})",
        _list("NAME"),
    ),
    "architecture": (
        f"numbers of hidden layers and of their units (default: {Settings.architecture})",
        {},
    ),
    "beside": (
        "methods that train the first smooth activation once more, from seed 0, to see what "
        f"the optimizer adds (default: {' '.join(BESIDE)}, and none with --quick)",
        _list("METHOD", "*"),
    ),
    "noise": (
        "of the y that are trained on, as a fraction of their standard deviation "
        f"(default: {Settings.noise:g})",
        {"type": _number},
    ),
}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of `keras-smooth`."""
    top = argparse.ArgumentParser(
        prog="keras-smooth",
        description="Correct, visible and trainable derivatives for Keras on TensorFlow.",
    )
    top.add_argument("--version", action="version", version=keras_smooth.__version__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_compare(commands)
    _add_audit(commands)
    return top


def _add_compare(commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="compare activations on y, y' and y''",
        description="Train the same network with several activations, measure the errors "
        "of y, y' and y'', and write tables, figures and a report.",
    )
    option = compare.add_argument
    for name, (shown, how) in SETTINGS.items():
        option(f"--{name}", default=argparse.SUPPRESS, help=shown, **how)
    option("--jobs", type=_integer, help="processes (default: the cores, 1 on a GPU)")
    option(
        "--executor",
        default=executors.LOCAL,
        help=f"{' | '.join(executors.EXECUTORS)}: processes of this machine, or tasks of Ray "
        f"(default: {executors.LOCAL})",
    )
    option(
        "--address",
        help="of a Ray cluster, such as auto (default: RAY_ADDRESS, else one is started here)",
    )
    option(
        "--out",
        help=f"output directory (default: {DEFAULT_OUT}, numbered when it is taken)",
    )
    option(
        "--resume",
        action="store_true",
        help="go on with the runs in the output directory, whose settings stand where none "
        "are given; more activations, seeds, methods beside and epochs are added",
    )
    option(
        "--quick",
        action="store_true",
        help="at most one seed and 100 iterations, for a look",
    )
    for old, new in RENAMED.items():
        option(f"--{old}", action=_Renamed, const=f"--{new}", help=argparse.SUPPRESS)
    compare.set_defaults(function=_compare)


class _Renamed(argparse.Action):
    """An option of version 0.1.0, refused with the new name."""

    def __call__(self, parser, namespace, values, option_string=None):
        parser.error(f"{option_string} is {self.const} now, as in fit_lbfgs")


def _add_audit(commands) -> None:
    audit = commands.add_parser(
        "audit",
        help="find the layers of a saved model that lose or falsify derivatives",
        description="Look up the operations of every layer of a saved model, and measure "
        "what is not known. Exit status: 0 all derivatives proven or checked, 1 some faulty, "
        "3 some that could not be examined, 2 bad input.",
    )
    audit.add_argument("file", help="a model as Keras saves it, FILE.keras")
    audit.add_argument(
        "--order", type=_integer, default=2, help="number of derivatives (2)"
    )
    audit.add_argument("--x", metavar="FILE.npy", help="inputs, at which to look")
    audit.add_argument(
        "--mode",
        choices=MODES,
        help="the mode whose outcome is the exit status (the worse)",
    )
    audit.add_argument(
        "--import",
        dest="modules",
        metavar="MODULE",
        action="append",
        default=[],
        help="a module that registers the custom objects of the model",
    )
    audit.add_argument("--json", action="store_true", help="print JSON, not a table")
    audit.set_defaults(function=_audit)


def _audit(arguments: argparse.Namespace, console: Console) -> int:
    checks.path("the file", arguments.file)
    for module in arguments.modules:
        _import(module)
    if holes := model_files.known_holes():
        print(f"keras-smooth audit: {holes}", file=sys.stderr)
    model = model_files.read_model(arguments.file)
    x = None if arguments.x is None else _array(arguments.x)
    if arguments.order > MAX_ORDER:
        raise ValueError(
            f"--order must be {MAX_ORDER} or less, received {arguments.order}."
        )
    with progress.ProgressLine(display.console(stderr=True)) as line:
        result = keras_smooth.audit(model, x, order=arguments.order, progress=line)
    if arguments.json:
        print(result.to_json())
    else:
        result.show()
    return getattr(result, arguments.mode or "outcome").exit_status


def _import(module: str) -> None:
    # As `python -m` does, also from the directory where the command is started.
    sys.path.insert(0, os.getcwd())
    try:
        importlib.import_module(module)
    # A module of the user's own can raise anything.
    except Exception as error:
        raise ValueError(
            f"cannot import {checks.shown(module)}: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(os.getcwd())


def _array(file: str) -> np.ndarray:
    path = checks.regular_file(checks.path("--x", file))
    try:
        # Mapped, an array can be no larger than its file, whatever the header claims.
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    # NumPy takes whatever it cannot read for a pickle, and says how to open that all the same.
    except Exception:
        found = None
    if not isinstance(found, np.ndarray):
        raise ValueError(
            f"Cannot read {file}: expected one array of numbers, as numpy.save writes it."
        )
    return found


def _compare(arguments: argparse.Namespace, console: Console) -> int:
    # None is no path given; an empty one is a variable of a shell that nobody has set.
    out = _default_out(arguments.resume) if arguments.out is None else arguments.out
    out = Path(checks.path("--out", out))
    settings = _settings(arguments, resuming.stored_fields(out) if arguments.resume else {})
    learned = problems.load_problems(settings.problem, noise=settings.noise)
    problems.check_precision(learned, settings.dtype)
    executor = _executor(arguments, settings)
    directory = comparing.output_directory(out)
    with lock.locked(directory):
        results = comparing.prepare(settings, learned, directory, arguments.resume)
        if arguments.resume and not results.outcomes:
            display.say(console, comparing.nothing_to_resume(directory))
        return _carried_out(results, executor, directory, console)


def _carried_out(
    results: Results, executor: executors.Executor, directory: Path, console: Console
) -> int:
    try:
        comparing.show_and_carry_out(results, executor, directory, console)
    except (KeyboardInterrupt, termination.Terminated) as error:
        go_on = f"Go on with the same command and {_resuming(directory)}"
        display.say(console, f"Interrupted. {go_on}")
        is_asked = isinstance(error, termination.Terminated)
        return termination.STATUS if is_asked else INTERRUPTED
    if results.outcomes:
        comparing.Comparison(results).save(directory)
        console.print(display.summary_table(results, console))
        display.say(console, report.recommendation(results).replace("**", ""))
        display.say(console, f"{results.seconds:.0f} s. Report: {directory / report.PAGE}")
    if results.failures:
        num_runs = len(results.outcomes) + len(results.failures)
        raise RuntimeError(
            "\n".join(results.failures.values())
            + f"\n{len(results.failures)} of {num_runs} runs have failed. Try them again with the "
            f"same command and {_resuming(directory)}"
        )
    return 0


def _resuming(directory: Path) -> str:
    return shlex.join(["--resume", "--out", str(directory)])


def _settings(arguments: argparse.Namespace, stored: Mapping[str, Any]) -> Settings:
    """Returns what is asked for; where nothing is, what is stored, else the defaults."""
    given = {name: value for name, value in vars(arguments).items() if name in SETTINGS}
    if "activations" in given:
        given["activations"] = _activations(given["activations"])
    asked = {"beside": () if arguments.quick else BESIDE, **stored, **given}
    if arguments.quick:
        for name, most in QUICK.items():
            asked[name] = min(asked.get(name, most), most)
    return Settings(**asked)


def _activations(given: list[str]) -> tuple[str, ...]:
    names = [name for part in given for name in part.split(",") if name]
    if ALL not in names:
        return tuple(names)
    more = (name for name in names if name != ALL)
    return tuple(dict.fromkeys((*all_activations(), *more)))


def _executor(arguments: argparse.Namespace, settings: Settings) -> executors.Executor:
    jobs = arguments.jobs
    if jobs is not None:
        checks.whole_number("--jobs", jobs, 1)
    elif arguments.executor == executors.LOCAL:
        # Two processes on one GPU would share its memory.
        jobs = 1 if settings.device_name() != "CPU:0" else os.cpu_count() or 1
    return executors.chosen(jobs, arguments.executor, arguments.address)


def _default_out(resume: bool) -> str:
    """Returns the first free name of comparison, comparison-2, ...; the last used to resume."""
    names = [DEFAULT_OUT, *(f"{DEFAULT_OUT}-{number}" for number in range(2, 10_000))]
    free = next(i for i, name in enumerate(names) if not Path(name).exists())
    return names[max(free - 1, 0)] if resume else names[free]


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns the exit status.

    Returns:
        0, 1 if the worker of a run died twice or an audit finds a fault, 2 for bad input,
        3 if an audit leaves something unexamined, 130 after Ctrl-C,
        143 after SIGTERM.
    """
    arguments = parser().parse_args(argv)
    try:
        with termination.raised():
            return arguments.function(arguments, display.console())
    except (TypeError, ValueError, ImportError) as error:
        return _refused(arguments, str(error), BAD_INPUT)
    except MemoryError as error:
        return _refused(arguments, f"not enough memory: {error}", BAD_INPUT)
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        return _refused(arguments, f"{named}{error.strerror or error}", BAD_INPUT)
    except RuntimeError as error:
        return _refused(arguments, str(error), FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except termination.Terminated:
        return termination.STATUS


def _refused(arguments: argparse.Namespace, words: str, status: int) -> int:
    words = display.plain(display.console(stderr=True), words)
    print(f"keras-smooth {arguments.command}: {words}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
