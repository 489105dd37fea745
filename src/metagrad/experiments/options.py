"""The command line's parser: options made from a configuration's fields, errors as one sentence."""

import argparse
import difflib
from collections.abc import Sequence
from typing import NoReturn, TypeVar

from metagrad.experiments.fields import describe, replaced, walk

Config = TypeVar("Config")

FLAGS = ("--help", "--download", "--as_published", "--accept_changes")
"""Options that take no value."""


class CommandError(ValueError):
    """A command line that cannot be understood; `command` is the program and subcommand that said so."""

    def __init__(self, command: str, message: str) -> None:
        super().__init__(message)
        self.command = command


class Parser(argparse.ArgumentParser):
    """An argument parser that raises its errors, never guesses abbreviations, and names close options."""

    def __init__(self, prog: str, description: str, usage: str | None = None) -> None:
        super().__init__(prog=prog, description=description, usage=usage, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise CommandError(self.prog, message)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse, or raise CommandError with the closest known option."""
        known, unknown = self.parse_known_args(arguments)
        if not unknown:
            return known
        first = unknown[0].partition("=")[0]
        if not first.startswith("-"):
            self.error(f"unexpected argument {first!r}")
        options = [option for option in self._option_string_actions if option.startswith("--")]
        close = _closest(first, options)
        hint = f"did you mean {close}?" if close else f"`{self.prog} --help` lists all"
        self.error(f"unknown option {first}; {hint}")


def normal(arguments: Sequence[str]) -> list[str]:
    """The same arguments, each option as `--name=value` with underscores in its name; all but `FLAGS` take one value.

    So `--meta-steps 5` is `--meta_steps=5`, and a value may begin with a minus sign: `--problem.inputs -5,5`.
    """
    waiting = list(reversed(arguments))
    changed: list[str] = []
    while waiting:
        argument = waiting.pop()
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            name = "--" + name[2:].replace("-", "_")
            if not equals and name not in FLAGS and waiting and not waiting[-1].startswith("--"):
                equals, value = "=", waiting.pop()
            argument = name + equals + value
        changed.append(argument)
    return changed


def pairs(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Positional arguments, and the last value of each option, of arguments that are `normal`."""
    positional = [argument for argument in arguments if not argument.startswith("-")]
    options = [argument[2:].partition("=") for argument in arguments if argument.startswith("--")]
    return positional, {name: value for name, equals, value in options if equals}


def with_components(config: Config, values: dict[str, str]) -> Config:
    """The configuration with its estimator, rule and solvers replaced as asked, parents first.

    A replaced component brings other fields, so this comes before there can be a parser for them.

    Raises:
        ValueError: an expression that is none.
    """
    done: set[str] = set()
    while True:
        waiting = [f.path for f in walk(config) if f.is_component and f.path in values and f.path not in done]
        if not waiting:
            return config
        config = replaced(config, waiting[0], values[waiting[0]])
        done.add(waiting[0])


def add_fields(parser: Parser, config: object) -> None:
    """One option for every field of the configuration, grouped by the first part of its name."""
    groups: dict[str, argparse._ArgumentGroup] = {}  # pyright: ignore[reportPrivateUsage]
    for field in walk(config):
        head = field.path.partition(".")[0]
        title = head if "." in field.path or field.is_component else "experiment"
        group = groups.setdefault(title, parser.add_argument_group(title))
        takes = "a constructor expression" if field.is_component else describe(field.kind)
        description = f"{field.description}: " if field.description else ""
        group.add_argument(
            f"--{field.path}",
            dest=field.path,
            metavar="EXPR" if field.is_component else "VALUE",
            help=f"{description}{takes} [{field.text}]".replace("%", "%%"),
        )


def with_fields(config: Config, given: argparse.Namespace) -> Config:
    """The configuration with every plain field that was given on the command line, whatever their order.

    A value that is refused is tried again after the others, which it may only go together with.

    Raises:
        ValueError: a value of the wrong type, or one that the configuration refuses.
    """
    texts = {field.path: getattr(given, field.path) for field in walk(config) if not field.is_component}
    waiting = {path: text for path, text in texts.items() if text is not None}
    while waiting:
        refused: dict[str, ValueError] = {}
        for path, text in waiting.items():
            try:
                config = replaced(config, path, text)
            except ValueError as error:
                refused[path] = error
        if len(refused) == len(waiting):
            raise next(iter(refused.values()))
        waiting = {path: waiting[path] for path in refused}
    return config


def _closest(option: str, options: list[str]) -> str | None:
    # `--lr` is no near spelling of `--optimizer.lr`, yet it is what people mean.
    ends = [known for known in options if known.rpartition(".")[2] == option.lstrip("-")]
    return " or ".join(ends or difflib.get_close_matches(option, options, n=1)) or None
