"""The functions of the commands, which have the names of the commands."""

import argparse
import importlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import keras_smooth
from keras_smooth import checks
from keras_smooth.auditing import model_files, progress
from keras_smooth.cli.parser import BASELINES, DEFAULT_OUT, given_options
from keras_smooth.comparison import display, report, termination
from keras_smooth.comparison.options import LOCAL
from keras_smooth.comparison.records import resuming
from keras_smooth.differentiation.engines import MAX_ORDER
from keras_smooth.presentation.counts import counted

QUICK = {"seeds": 1, "epochs": 600}


def see_devices() -> bool:
    """Returns whether TensorFlow finds a GPU. In the first call, TensorFlow prints messages."""
    return bool(tf.config.list_physical_devices("GPU"))


def compare(arguments: argparse.Namespace) -> int:
    """Calls `keras_smooth.compare`, writes its report, and prints the table of its results."""
    out = Path(arguments.out or default_out(arguments.resume))
    console = display.console()
    try:
        with _warnings_printed(console):
            stored = resuming.stored_fields(out) if arguments.resume else {}
            comparison = keras_smooth.compare(
                **requested_options(arguments, stored),
                jobs=_jobs(arguments),
                executor=arguments.executor,
                address=arguments.address,
                out=out,
                resume=arguments.resume,
            )
            comparison.save(out)
    except (KeyboardInterrupt, termination.Terminated):
        display.print_text(console, f"Interrupted. Go on {_how_to_resume(out)}")
        raise
    except RuntimeError as error:  # No run was finished.
        raise RuntimeError(f"{error}\nTry again {_how_to_resume(out)}") from error
    comparison.show()
    results = comparison.results
    display.print_text(console, f"{results.seconds:.0f} s. Report: {out / report.PAGE}")
    if failures := comparison.failures:
        num_runs = len(results.records) + len(failures)
        raise RuntimeError(
            f"Failed: {len(failures)} of {counted(num_runs, 'run')}. "
            f"Try again {_how_to_resume(out)}"
        )
    return 0


@contextmanager
def _warnings_printed(console: Any) -> Iterator[None]:
    """Prints warnings as sentences, except those of runs and nodes, which the display shows.

    Deprecation warnings are ignored, since they concern developers.
    """

    def show(message: Any, category: type[Warning], *_: object, **__: object) -> None:
        if not issubclass(category, RuntimeWarning):
            display.print_text(console, str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        for category in (DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        warnings.showwarning = show
        yield


def requested_options(
    arguments: argparse.Namespace, stored: dict[str, Any]
) -> dict[str, Any]:
    """Returns the options: of the command line, else the stored ones, else the defaults."""
    baselines = () if arguments.quick else BASELINES
    options = {"baselines": baselines, **stored, **given_options(arguments)}
    if arguments.quick:
        for name, limit in QUICK.items():
            options[name] = min(options.get(name, limit), limit)
    return options


def _jobs(arguments: argparse.Namespace) -> int | None:
    if arguments.jobs is not None or arguments.executor != LOCAL:
        return arguments.jobs
    # Two processes on one GPU would share its memory.
    on_gpu = see_devices() and getattr(arguments, "device", "auto") != "cpu"
    return 1 if on_gpu else os.cpu_count() or 1


def _how_to_resume(out: Path) -> str:
    return f"with the same command and {shlex.join(['--resume', '--out', str(out)])}"


def default_out(resume: bool) -> str:
    """Returns the first unused name of comparison, comparison-2, ..., or to resume the last used."""
    names = [DEFAULT_OUT, *(f"{DEFAULT_OUT}-{number}" for number in range(2, 10_000))]
    used = [name for name in names if Path(name).exists()]
    if resume:
        return used[-1] if used else DEFAULT_OUT
    return next(name for name in names if name not in used)


def audit(arguments: argparse.Namespace) -> int:
    """Prints the audit of a saved model, and returns the exit status of its outcome."""
    for module in arguments.modules:
        _import(module)
    model = model_files.read_model(arguments.file)
    x = None if arguments.x is None else _array(arguments.x)
    order = checks.whole_number("--order", arguments.order, 1, MAX_ORDER)
    try:
        with progress.line(display.console(stderr=True)) as show:
            result = keras_smooth.audit(model, x, order=order, progress=show)
    except ValueError as error:
        # The message names the argument of `audit`; the command has an option instead.
        raise ValueError(str(error).replace("Pass x,", "Pass --x FILE.npy,")) from error
    if arguments.json:
        print(result.to_json())
    else:
        result.show()
    return getattr(result, arguments.mode or "outcome").exit_status


def _import(module: str) -> None:
    # Modules in the current directory can be imported, as with `python -m`.
    sys.path.insert(0, os.getcwd())
    try:
        importlib.import_module(module)
    # A module of the user can raise any error.
    except Exception as error:
        raise ValueError(
            f"cannot import {checks.shown(module)}: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(os.getcwd())


def _array(file: str) -> np.ndarray:
    try:
        # A mapped array cannot be larger than its file, whatever the header says.
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    # If NumPy cannot read a file, its message advises to allow pickles.
    except Exception:
        array = None
    if not isinstance(array, np.ndarray):
        raise ValueError(
            f"Cannot read {file}: expected one array of numbers, as numpy.save writes it."
        )
    return array
