"""An experiment's fields as options of the command line, and set from what was typed."""

import argparse
from collections.abc import Iterator
from typing import TypeVar

from metagrad.experiments.fields import describe, replaced, walk
from metagrad.experiments.options import Line

Config = TypeVar("Config")


def lines(config: object) -> Iterator[Line]:
    """One for every field."""
    for field in walk(config):
        takes = "a constructor expression" if field.is_component else describe(field.kind)
        yield Line(field.path, takes, field.description, field.text, field.is_component)


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
