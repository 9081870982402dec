"""Scripts of this folder in processes of their own."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def printed(script: str, *arguments: object) -> Any:
    """Returns the last line that a script prints, which is JSON."""
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return json.loads(done.stdout.splitlines()[-1])


def on_a_terminal(
    command: list[str], at: str, send: Callable, number: int, **options: Any
) -> tuple[int, str]:
    """Runs a command on a terminal of its own and sends a signal once it has printed a text.

    Returns:
        The exit status, and all that the command has printed.
    """
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        command, stdin=its_end, stdout=its_end, stderr=its_end, start_new_session=True,
        **options,
    )  # fmt: skip
    os.close(its_end)
    said, sent = "", False
    while content := _read(terminal):
        said += content.decode(errors="replace")
        if at in said and not sent:
            send(process.pid, number)
            sent = True
    os.close(terminal)
    return process.wait(), said


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # As Linux says that nobody has the other end any more.
        return b""
