"""Completion in a shell, made from the commands themselves."""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from app.cli.terminal import SETTING_UP, program

OPTION: Final = re.compile(r"--[a-z][a-z-]*")
NAME: Final = "epsilon-ledger"
Words = Mapping[str, list[str]]


class Shell(StrEnum):
    """Where it completes."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@program.command(rich_help_panel=SETTING_UP)
def completion(shell: Annotated[Shell, typer.Argument(help="yours")]) -> None:
    """Print what makes this shell complete commands and options.

    Bash and zsh: `source <(epsilon-ledger completion bash)` in .bashrc, or `zsh` in .zshrc after
    compinit. Fish: `epsilon-ledger completion fish | source` in config.fish.
    """
    typer.echo({Shell.BASH: bash, Shell.ZSH: zsh, Shell.FISH: fish}[shell](words()), nl=False)


def words() -> Words:
    """What may follow each command, whose words are joined by a blank; "" is the program."""
    return dict(_words_of(typer.main.get_command(program), ""))


def bash(found: Words) -> str:
    """Words of the command that has been typed so far; else files."""
    return f"""\
_epsilon_ledger() {{
    local word path='' words='' current="${{COMP_WORDS[COMP_CWORD]}}"
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "${{path:+$path }}$word" in
            {_paths(found)}) path="${{path:+$path }}$word" ;;
        esac
    done
    case "$path" in
{_cases(found)}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -o bashdefault -F _epsilon_ledger {NAME}
"""


def zsh(found: Words) -> str:
    """The same for zsh, whose arrays begin at 1."""
    return f"""\
#compdef {NAME}
_epsilon_ledger() {{
    local word step='' said=''
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        case "${{step:+$step }}$word" in
            {_paths(found)}) step="${{step:+$step }}$word" ;;
        esac
    done
    case "$step" in
{_cases(found).replace("words=", "said=")}
    esac
    compadd -- ${{=said}}
    [[ -n "$step" && "$PREFIX" != -* ]] && _files
}}
compdef _epsilon_ledger {NAME}
"""


def fish(found: Words) -> str:
    """One line for each word, with the commands that have to stand before it."""
    lines = []
    groups = {path for path in found if any(each.startswith(f"{path} ") for each in found if path)}
    for path, follow in found.items():
        seen = " and ".join(f"__fish_seen_subcommand_from {word}" for word in path.split())
        closed = " ".join(word for word in follow if not word.startswith("-"))
        if not path:
            condition = "__fish_use_subcommand"
        elif path in groups:
            condition = f"{seen}; and not __fish_seen_subcommand_from {closed}"
        else:
            condition = seen.replace(" and ", "; and ")
        for word in follow:
            said = f"-l {word[2:]}" if word.startswith("--") else f"-f -a {word}"
            lines.append(f"complete -c {NAME} -n '{condition}' {said}\n")
    return "".join(lines)


def _words_of(command: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    below = getattr(command, "commands", {})
    options = [
        name
        for each in command.params
        if each.param_type_name == "option"
        for name in (*each.opts, *each.secondary_opts)
        if OPTION.fullmatch(name)
    ]
    yield path, sorted({*below, *options, *map(str, _passed_on(path)), "--help"})
    for name, each in sorted(below.items()):
        yield from _words_of(each, f"{path} {name}".strip())


def _passed_on(path: str) -> set[str]:
    """What the commands do not say: our shells, and the verifier's options, which it reads."""
    if path == "completion":
        return set(Shell)
    if path != "verify":
        return set()
    from app import verifier

    return set(OPTION.findall(verifier.parser().format_help()))


def _paths(found: Words) -> str:
    return "|".join(f"'{path}'" for path in found if path)


def _cases(found: Words) -> str:
    return "\n".join(
        f"        '{path}') words='{' '.join(follow)}' ;;" for path, follow in found.items()
    )
