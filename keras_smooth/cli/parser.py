"""The arguments of the command line, in a table, and their checks."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_smooth import checks
from keras_smooth.comparison import options
from keras_smooth.comparison.options import EXECUTORS, LIST, LOCAL

DEFAULT_OUT = "comparison"
BASELINES = ("tfp_lbfgs", "adam")
SHELLS = ("bash", "zsh", "fish")
MODES = ("inference", "training")
VERSION = re.compile(r'^__version__ = "(.*)"$', re.MULTILINE)
# The largest number of values that the help lists.
MAX_VALUES_SHOWN = 12
LOG = (
    "TensorFlow's lines at its start are not shown; set the environment variable "
    "TF_CPP_MIN_LOG_LEVEL to 0 to see them."
)


class Argument(NamedTuple):
    """An argument of a command.

    Args:
        name: `--name` for an option, or the name of a positional argument.
        text: Its description.
        settings: The keyword arguments of `add_argument` of `argparse`.
        values: Its possible values, if known, for the help and for completion.
        is_path: Whether it is the path of a file or directory.
    """

    name: str
    text: str
    settings: dict[str, Any] = {}
    values: tuple[str, ...] = ()
    is_path: bool = False


class Command(NamedTuple):
    """A command: its line in the list of commands, its description, and its arguments."""

    text: str
    description: str
    arguments: tuple[Argument, ...]


def _argument_of_option(name: str) -> Argument:
    """Returns the argument for an option of a comparison."""
    default, metadata = LIST[name].default, LIST[name].metadata
    settings: dict[str, Any] = {"type": type(default)}
    default_text, values = str(default), metadata.get("values", ())
    if isinstance(default, tuple):
        settings = {"nargs": metadata["least"], "metavar": metadata["metavar"]}
        default_text = " ".join(default)
    if name == "baselines":
        default_text = f"{' '.join(BASELINES)}, and none with --quick"
    listed = f": {' | '.join(values)}" if 0 < len(values) <= MAX_VALUES_SHOWN else ""
    return Argument(
        f"--{name}",
        f"{metadata['text']}{listed} (default: {default_text})",
        # An option that is not passed is read from the directory, or has the default of `compare`.
        {**settings, "default": argparse.SUPPRESS},
        values,
        is_path=name == "problem",
    )


_FLAG = {"action": "store_true"}
_OLDER_NAMES = {"--baselines": ["--beside"]}
COMPARE = Command(
    "compare activations on y, y' and y''",
    "Train the same network with several activations, measure the errors of y, y' and y'', "
    "and write tables, figures and a report.",
    (
        *map(_argument_of_option, LIST),
        Argument("--jobs", "processes (default: the cores, 1 on a GPU)", {"type": int}),
        Argument(
            "--executor",
            f"{' | '.join(EXECUTORS)}: processes of this machine, or tasks of Ray "
            f"(default: {LOCAL})",
            {"default": LOCAL, "choices": EXECUTORS},
            EXECUTORS,
        ),
        Argument(
            "--address",
            "of a Ray cluster, such as auto (default: RAY_ADDRESS, else one is started here)",
        ),
        Argument(
            "--out",
            f"output directory (default: {DEFAULT_OUT}, numbered when it is taken)",
            is_path=True,
        ),
        Argument(
            "--resume",
            "continue the comparison in the output directory; options that are not given keep "
            "their values there; activations, seeds, problems, methods and epochs can be added",
            _FLAG,
        ),
        Argument("--quick", "at most one seed and 600 epochs, for a look", _FLAG),
    ),
)
AUDIT = Command(
    "find the layers of a saved model that lose or falsify derivatives",
    "Look up the operations of every layer of a saved model, and measure what is not known. "
    "Exit status: 0 all derivatives proven or checked, 1 some faulty, 3 some that could not "
    "be examined, 2 bad input.",
    (
        Argument("file", "a model as Keras saves it, FILE.keras", is_path=True),
        Argument("--order", "number of derivatives (2)", {"type": int, "default": 2}),
        Argument("--x", "inputs, at which to look", {"metavar": "FILE.npy"}, is_path=True),
        Argument(
            "--mode",
            "the mode whose outcome is the exit status (the worse)",
            {"choices": MODES},
            MODES,
        ),
        Argument(
            "--import",
            "a module that registers the custom objects of the model",
            {"dest": "modules", "metavar": "MODULE", "action": "append", "default": []},
        ),
        Argument("--json", "print JSON, not a table", _FLAG),
    ),
)
COMPLETION = Command(
    "print a script by which a shell completes the command",
    'For bash: eval "$(keras-smooth completion bash)" in ~/.bashrc. For zsh: the same with '
    "zsh, after compinit, in ~/.zshrc. For fish: keras-smooth completion fish > "
    "~/.config/fish/completions/keras-smooth.fish",
    (Argument("shell", " | ".join(SHELLS), {"choices": SHELLS}, SHELLS),),
)
COMMANDS = {"compare": COMPARE, "audit": AUDIT, "completion": COMPLETION}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the arguments, or ends the process with an error message."""
    top = argparse.ArgumentParser(
        prog="keras-smooth",
        description="Correct, visible and trainable derivatives for Keras on TensorFlow.",
        epilog=LOG,
    )
    top.add_argument("--version", action="version", version=version())
    commands = top.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    for name, command in COMMANDS.items():
        parser = commands.add_parser(
            name, help=command.text, description=command.description, epilog=LOG
        )
        for argument in command.arguments:
            names = [argument.name, *_OLDER_NAMES.get(argument.name, ())]
            parser.add_argument(*names, help=argument.text, **argument.settings)
    return top.parse_args(argv)


class _Parser(argparse.ArgumentParser):
    """A parser of a command, which suggests names for misspelt options."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        arguments, unknown = super().parse_known_args(args, namespace)
        if unknown:
            names = [option.name for option in COMMANDS[self.prog.split()[-1]].arguments]
            hints = [checks.nearest(word, names) for word in unknown if word[:1] == "-"]
            self.error(f"unrecognized arguments: {' '.join([*unknown, *hints])}")
        return arguments, unknown


def version() -> str:
    """Returns the version from the file of the package, which may not be imported yet."""
    text = (Path(__file__).parent.parent / "__init__.py").read_text(encoding="utf-8")
    return "".join(VERSION.findall(text))


def check(arguments: argparse.Namespace) -> None:
    """Raises an error for wrong arguments that can be found without TensorFlow.

    Raises:
        TypeError: If an argument is of a wrong kind.
        ValueError: If an argument has an invalid value.
    """
    if arguments.command == "compare":
        given = given_options(arguments)
        for name in given.get("activations", ()):
            options.check_activation(name)
        for name in given.get("problem", ()):
            options.check_problem(name)
        options.Options(**given)
        if arguments.jobs is not None:
            checks.whole_number("--jobs", arguments.jobs, 1)
        if arguments.out is not None:
            # An empty path, such as from an unset shell variable, is an error.
            checks.path("--out", arguments.out)
    if arguments.command == "audit":
        checks.regular_file(checks.path("the file", arguments.file))
        if arguments.x is not None:
            checks.regular_file(checks.path("--x", arguments.x))


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the options of a comparison that are on the command line."""
    given = {name: value for name, value in vars(arguments).items() if name in LIST}
    if "activations" in given:
        names = [name for text in given["activations"] for name in text.split(",")]
        given["activations"] = [name for name in names if name]
    return given
