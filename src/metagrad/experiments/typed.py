"""The command line that makes an experiment: as it was typed, or rebuilt from the configuration alone."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace

from metagrad.experiments.config import Experiment
from metagrad.experiments.expression import short
from metagrad.experiments.fields import Field, walk
from metagrad.experiments.presets import PRESETS

_PLACES = ("data", "problem.data")
_LEFT_OUT = ("out", "download")


def as_typed(command: str, preset: str | None, values: Mapping[str, str]) -> str:
    """The command with its preset and options, without places: a path is not the same on two machines.

    Args:
        command: program and subcommand.
        preset: the preset's name; None for a problem of the user's own without one.
        values: options by name without hyphens, as `options.pairs` gives them.
    """
    options = {name: value for name, value in values.items() if name not in (*_PLACES, *_LEFT_OUT)}
    if any(name in values for name in _PLACES):
        options["data"] = "DIR"
    return _joined(command, preset, options)


def rebuilt(command: str, config: Experiment) -> str | None:
    """A command that gives exactly this configuration: the nearest preset, and an option for each difference.

    None where no preset has that kind of problem. `metagrad compare` starts from presets with 0 meta-steps.
    """
    starting: Callable[[Experiment], Experiment] = (
        (lambda preset: replace(preset, meta_steps=0)) if command == "metagrad compare" else (lambda preset: preset)
    )
    near: list[tuple[int, str, dict[str, str]]] = []
    for name, preset in PRESETS.items():
        begun = starting(preset())
        if type(begun.problem) is type(config.problem):
            options = _differences(begun, config)
            near.append((len(options), name, options))
    if not near:
        return None
    _, name, options = min(near, key=lambda entry: entry[0])
    if hasattr(config.problem, "data"):
        options["data"] = "DIR"
    return _joined(command, name, options)


def _differences(preset: Experiment, config: Experiment) -> dict[str, str]:
    """Options that turn the preset into the configuration; a component is named as a whole."""
    before = {field.path: field for field in walk(preset)}
    options: dict[str, str] = {}
    inside: list[str] = []
    for field in walk(config):
        if field.path in _PLACES or any(field.path.startswith(component) for component in inside):
            continue
        if field.is_component:
            inside.append(f"{field.path}.")
        if field.path not in before or before[field.path].value != field.value:
            options[field.path] = _text(field)
    return options


def _text(field: Field) -> str:
    return short(field.value) if field.is_component else field.text


def _joined(command: str, preset: str | None, options: Mapping[str, str]) -> str:
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    return " ".join([command, *([preset] if preset else []), *map(shlex.quote, words)])
