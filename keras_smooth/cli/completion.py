"""Scripts with which shells complete the command, from its table of arguments."""

from keras_smooth.cli.parser import COMMANDS
from keras_smooth.presentation import templates


def script(shell: str) -> str:
    """Returns what `keras-smooth completion SHELL` prints."""
    return templates.render(f"cli/shells/{shell}", commands=COMMANDS)
