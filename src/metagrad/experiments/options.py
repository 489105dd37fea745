"""The command line's parser: close names for mistyped ones, errors as one sentence; needs no torch."""

import argparse
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

DATA_VARIABLE = "METAGRAD_DATA"
"""Environment variable that names the data directory where a configuration does not."""

FLAGS = ("--help", "--download", "--as-published", "--accept-changes")
"""Options that take no value."""

MEANT = {
    "--epochs": ("--meta-steps",),
    "--iterations": ("--meta-steps",),
    "--batch-size": ("--meta-batch",),
    "--inner-lr": ("--rule.lr",),
    "--inner-steps": ("--num-steps",),
    "--outer-lr": ("--optimizer.lr",),
    "--meta-lr": ("--optimizer.lr",),
    "--learning-rate": ("--rule.lr", "--optimizer.lr"),
    "--gpu": ("--machine.device",),
    "--output": ("--out",),
    "--root": ("--data",),
    "--lambda": ("--proximal",),
}
"""What people call options of theirs elsewhere."""


class CommandError(ValueError):
    """A command line that cannot be understood; `command` is the program and subcommand that said so."""

    def __init__(self, command: str, message: str) -> None:
        super().__init__(message)
        self.command = command


@dataclass(frozen=True)
class Line:
    """One option of an experiment.

    Args:
        path: dotted name of the field that it sets.
        takes: what it takes, in words.
        description: what it is.
        text: its value now, as one would type it.
        part: whether it is an estimator, a rule or a solver, which brings options of its own.
    """

    path: str
    takes: str
    description: str
    text: str
    part: bool


class Parser(argparse.ArgumentParser):
    """An argument parser that raises its errors, never guesses abbreviations, and names close options.

    Its options have hyphens; underscores are understood too.
    """

    def __init__(self, prog: str, description: str, usage: str | None = None) -> None:
        super().__init__(prog=prog, description=description, usage=usage, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise CommandError(self.prog, message)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse, or raise CommandError with the closest known option."""
        typed = {hyphened(argument): argument for argument in arguments}
        known, unknown = self.parse_known_args([hyphened(argument) for argument in arguments])
        if not unknown:
            return known
        first = unknown[0]
        if not first.startswith("-"):
            self.error(f"unexpected argument {first!r}")
        option = first.partition("=")[0]
        close = _closest(option, [option for option in self._option_string_actions if option.startswith("--")])
        hint = f"did you mean {close}?" if close else f"`{self.prog} --help` lists all"
        self.error(f"unknown option {typed[first].partition('=')[0]}; {hint}")

    def add_lines(self, lines: Iterable[Line]) -> None:
        """One option for each, grouped by the first part of its name."""
        groups: dict[str, argparse._ArgumentGroup] = {}  # pyright: ignore[reportPrivateUsage]
        for line in lines:
            head = line.path.partition(".")[0]
            title = head if "." in line.path or line.part else "experiment"
            group = groups.setdefault(title, self.add_argument_group(title))
            description = f"{line.description}: " if line.description else ""
            group.add_argument(
                hyphened(f"--{line.path}"),
                dest=line.path,
                metavar="EXPR" if line.part else "VALUE",
                help=f"{description}{line.takes} [{line.text}]".replace("%", "%%"),
            )


def normal(arguments: Sequence[str]) -> list[str]:
    """The same arguments, each option with its value as `--name=value`; all but `FLAGS` take one.

    So `--meta-steps 5` is `--meta-steps=5`, and a value may begin with a minus sign: `--problem.inputs -5,5`.
    """
    waiting = list(reversed(arguments))
    changed: list[str] = []
    while waiting:
        argument = waiting.pop()
        takes = argument.startswith("--") and "=" not in argument and hyphened(argument) not in FLAGS
        if takes and waiting and not waiting[-1].startswith("--"):
            argument = f"{argument}={waiting.pop()}"
        changed.append(argument)
    return changed


def pairs(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Positional arguments, and the last value of each option by its field's name, of arguments that are `normal`."""
    positional = [argument for argument in arguments if not argument.startswith("-")]
    options = [argument[2:].partition("=") for argument in arguments if argument.startswith("--")]
    return positional, {name.replace("-", "_"): value for name, equals, value in options if equals}


def hyphened(argument: str) -> str:
    """An argument with hyphens in its option's name, as parsers know it."""
    name, equals, value = argument.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if name.startswith("--") else argument


def unknown(noun: str, name: str, known: Iterable[str]) -> ValueError:
    """The error for a name that is none of the known, with those that are near it."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return ValueError(f"unknown {noun} {name!r}; {hint}known are {', '.join(names)}")


def _closest(option: str, options: list[str]) -> str | None:
    meant = [known for known in MEANT.get(option, ()) if known in options]
    # `--lr` is no near spelling of `--optimizer.lr`, yet it is what people mean.
    ends = [known for known in options if known.rpartition(".")[2] == option.lstrip("-")]
    return " or ".join(meant or ends or difflib.get_close_matches(option, options, n=1)) or None
