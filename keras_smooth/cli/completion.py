"""Scripts with which shells complete the command, from its table of arguments."""

import shlex
from collections.abc import Callable, Iterator

from keras_smooth.cli.parser import COMMANDS, Argument

TOP = ("--help", "--version")


def script(shell: str) -> str:
    """Returns what `keras-smooth completion SHELL` prints."""
    return SCRIPTS[shell]()


def _arguments() -> Iterator[tuple[str, Argument]]:
    for command, (_, _, arguments) in COMMANDS.items():
        yield from ((command, argument) for argument in arguments if argument.text)


def _takes_value(argument: Argument) -> bool:
    return argument.how.get("action", "append") == "append"


def _bash() -> str:
    options = {
        name: " ".join(["--help", *(each.name for each in command.arguments if each.text)])
        for name, command in COMMANDS.items()
    }
    # Positional arguments follow the command.
    after = {
        (command, argument.name if argument.name.startswith("-") else command): argument
        for command, argument in _arguments()
    }
    cases = [
        f"    '{command} {option}') words={shlex.quote(' '.join(argument.values))}"
        f"{'; files=yes' if argument.is_path else ''} ;;"
        for (command, option), argument in after.items()
    ]
    lists = [
        f"    {name}) options={shlex.quote(words)} ;;" for name, words in options.items()
    ]
    return f"""\
_keras_smooth() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} command=${{COMP_WORDS[1]}}
  local last=$command words='' options='' files='' i
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '{" ".join((*COMMANDS, *TOP))}' -- "$current"))
    return
  fi
  for ((i = 2; i < COMP_CWORD; i++)); do
    [[ ${{COMP_WORDS[i]}} == --* ]] && last=${{COMP_WORDS[i]}}
  done
  case $command in
{chr(10).join(lists)}
  esac
  case "$command $last" in
{chr(10).join(cases)}
  esac
  [[ $current == -* ]] && words=$options
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ -n $files && $current != -* ]] && COMPREPLY+=($(compgen -f -- "$current"))
}}
complete -o filenames -F _keras_smooth keras-smooth
"""


def _zsh() -> str:
    blocks = []
    for name, command in COMMANDS.items():
        specs = [_zsh_spec(each) for each in command.arguments if each.text]
        blocks.append(f"    {name}) _arguments {' '.join(map(shlex.quote, specs))} ;;")
    listed = [f"{name}:{command.text}" for name, command in COMMANDS.items()]
    return f"""\
#compdef keras-smooth
_keras_smooth() {{
  if ((CURRENT == 2)); then
    local -a commands=({" ".join(map(shlex.quote, listed))})
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
{chr(10).join(blocks)}
  esac
}}
compdef _keras_smooth keras-smooth
"""


def _zsh_spec(argument: Argument) -> str:
    """Returns an argument as `_arguments` reads it."""
    text = argument.text.replace("[", "(").replace("]", ")").replace(":", r"\:")
    action = "_files" if argument.is_path else f"({' '.join(argument.values)})"
    if not argument.name.startswith("-"):
        return f"1:{argument.name}:{action}"
    if not _takes_value(argument):
        return f"{argument.name}[{text}]"
    # A list has all words up to the next option.
    more = "*-*" if "nargs" in argument.how else ""
    return f"{argument.name}[{text}]:{more}{':' if more else ''}value:{action}"


def _fish() -> str:
    lines = ["complete -c keras-smooth -f"]
    for name, command in COMMANDS.items():
        text = shlex.quote(command.text)
        lines.append(
            f"complete -c keras-smooth -n __fish_use_subcommand -a {name} -d {text}"
        )
    for name, argument in _arguments():
        words = [
            "complete",
            "-c",
            "keras-smooth",
            "-n",
            f"__fish_seen_subcommand_from {name}",
        ]
        if argument.name.startswith("-"):
            words += ["-l", argument.name.removeprefix("--")]
            words += ["-r"] if _takes_value(argument) else []
        words += ["-F"] if argument.is_path else []
        words += ["-a", " ".join(argument.values)] if argument.values else []
        words += ["-d", argument.text]
        lines.append(shlex.join(words))
    return "\n".join(lines) + "\n"


SCRIPTS: dict[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
