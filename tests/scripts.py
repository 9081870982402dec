"""Runs scripts of this folder and commands in new processes."""

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
    process = subprocess.run(
        [sys.executable, Path(__file__).parent / script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return json.loads(process.stdout.splitlines()[-1])


def on_a_terminal(
    command: list[str], at: str, send: Callable, number: int, **options: Any
) -> tuple[int, str]:
    """Runs a command on a new terminal and sends a signal once it has printed a text.

    Returns:
        The exit status, and the output of the command.
    """
    terminal, process_end = pty.openpty()
    process = subprocess.Popen(
        command, stdin=process_end, stdout=process_end, stderr=process_end, start_new_session=True,
        **options,
    )  # fmt: skip
    os.close(process_end)
    output, is_sent = "", False
    while content := _read(terminal):
        output += content.decode(errors="replace")
        if at in output and not is_sent:
            send(process.pid, number)
            is_sent = True
    os.close(terminal)
    return process.wait(), output


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux raises once the other end is closed.
        return b""
