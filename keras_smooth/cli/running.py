"""`main`, which runs a command and returns the exit status."""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator

from keras_smooth.cli import parser
from keras_smooth.comparison import termination
from keras_smooth.presentation import tables, templates

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130
# 128 + SIGPIPE, a signal that Windows does not have.
READER_GONE = 141
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def main(argv: list[str] | None = None, before: Callable[[], None] = lambda: None) -> int:
    """Runs the command line and returns the exit status.

    Args:
        argv: The arguments. None uses those of the process.
        before: Called before a command runs; it imports TensorFlow.

    Returns:
        0 for success, 1 if the worker of a run died twice or an audit finds a fault, 2 for bad
        input, 3 if an audit could not examine a layer, 130 after Ctrl-C, 141 if the reader of
        the output has ended, as `head` does, 143 after SIGTERM.
    """
    arguments = parser.parse(argv)
    try:
        with termination.raised():
            status = _run(arguments, before)
            print(end="", flush=True)
            return status
    except BrokenPipeError as error:
        # The pipe may also be that of a worker process.
        if _reader_is_gone():
            return READER_GONE
        return _print_error(arguments, error, BAD_INPUT)
    except (TypeError, ValueError, ImportError, MemoryError, OSError) as error:
        return _print_error(arguments, error, BAD_INPUT)
    except RuntimeError as error:
        return _print_error(arguments, error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except termination.Terminated:
        return termination.STATUS


def _run(arguments: argparse.Namespace, before: Callable[[], None]) -> int:
    parser.check(arguments)
    if arguments.command == "completion":
        shell = f"cli/shells/{arguments.shell}"
        print(templates.render(shell, commands=parser.COMMANDS), end="")
        return 0
    with _start_up_lines_hidden():
        before()
        from keras_smooth.cli import commands

        commands.see_devices()
    return getattr(commands, arguments.command)(arguments)


@contextlib.contextmanager
def _start_up_lines_hidden() -> Iterator[None]:
    """Hides the messages of TensorFlow at its start, unless it fails or its log level shows them.

    Setting the log level is not enough: TensorFlow writes the first messages before it reads it.
    """
    if os.environ.setdefault(LOG_LEVEL, "3") != "3" or "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except Exception:
            hidden.seek(0)
            os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _reader_is_gone() -> bool:
    """Writes an empty line; returns whether that failed, and then discards the output."""
    try:
        print(flush=True)
    except BrokenPipeError:
        # Python would report the same error when it flushes the output at its end.
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
        return True
    return False


def _print_error(arguments: argparse.Namespace, error: Exception, status: int) -> int:
    # The message of a MemoryError may be empty.
    message = str(error) or type(error).__name__
    message = tables.plain(message, sys.stderr.encoding or "utf-8")
    print(f"keras-smooth {arguments.command}: {message}", file=sys.stderr)
    return status
