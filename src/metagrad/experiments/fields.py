"""Walk a tree of frozen dataclasses by dotted names: `estimator.order`, `optimizer.lr`, `problem.ways`.

A *leaf* is a field with a plain value. A *component* is an estimator, rule or solver: replaced as a whole by a
constructor expression, and walked into for its own fields. A *group* is any other dataclass: only walked into.
"""

import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from metagrad.experiments.expression import SETTINGS, kind_of, parse, short
from metagrad.rules import Learned

Config = TypeVar("Config")


@dataclass(frozen=True)
class Field:
    """One field of a configuration that users can set.

    Args:
        path: dotted name.
        value: what it is now.
        kind: its annotation; None for a component.
        description: one line for the help text.
    """

    path: str
    value: Any
    kind: Any
    description: str

    @property
    def is_component(self) -> bool:
        """Whether the value is an estimator, a rule or a solver."""
        return self.kind is None

    @property
    def text(self) -> str:
        """The value as one would type it."""
        if is_dataclass(self.value):
            return short(self.value)
        if isinstance(self.value, tuple):
            return ",".join(str(part) for part in self.value) or "none"
        return "none" if self.value is None else str(self.value)


def walk(config: Any, prefix: str = "") -> Iterator[Field]:
    """Every field that can be set, parents before their own fields."""
    hints = get_type_hints(type(config))
    documented = _documented(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        path = f"{prefix}{field.name}"
        description = field.metadata.get("help") or documented.get(field.name, "")
        if not is_dataclass(value):
            yield Field(path, value, hints[field.name], description)
            continue
        kind = kind_of(value)
        if kind:
            # A setting may also be a plain number, as its annotation says; other parts are always parts.
            yield Field(path, value, hints[field.name] if kind is SETTINGS else None, description)
        yield from walk(value, f"{path}.")


def replaced(config: Config, path: str, text: str) -> Config:
    """The configuration with the field at `path` set from text.

    Raises:
        ValueError: the text does not fit the field, or the new value is refused; the sentence names the field.
    """
    found = next(field for field in walk(config) if field.path == path)
    try:
        part = kind_of(found.value)
        value = parse(text, part) if part and found.is_component else read(text, found.kind)
        return _with(config, path.split("."), value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"--{path.replace('_', '-')}: {error}") from error


def read(text: str, kind: Any) -> Any:
    """A value of the annotated type from text.

    Raises:
        ValueError: the text is no such value.
    """
    for option in _options(kind):
        if option is type(None):
            if text.lower() == "none":
                return None
        elif get_origin(option) is Literal:
            for choice in get_args(option):
                if text == str(choice):
                    return choice
        elif option is bool:
            if text.lower() in ("true", "false"):
                return text.lower() == "true"
        elif option is Learned:
            if "(" in text:
                return parse(text, SETTINGS)
        elif get_origin(option) is Callable:
            continue  # a schedule is a function: there is no text for one
        elif get_origin(option) is tuple:
            element = get_args(option)[0]
            parts = [] if text.lower() == "none" else text.split(",")
            return tuple(read(part.strip(), element) for part in parts)
        else:
            try:
                return option(text)
            except ValueError:
                continue
    raise ValueError(f"expected {describe(kind)}, got {text!r}")


def describe(kind: Any) -> str:
    """An annotation in words: "an integer or none"."""
    plain = {int: "an integer", float: "a number", str: "text", bool: "true or false", type(None): "none"}
    words: list[str] = []
    for option in _options(kind):
        if get_origin(option) is Callable:
            continue
        if option is Learned:
            words.append(f"{option.__name__}(...)")
        elif get_origin(option) is Literal:
            words += [str(choice) for choice in get_args(option)]
        elif get_origin(option) is tuple:
            words.append(f"{_plural(get_args(option)[0])} separated by commas")
        else:
            words.append(plain[option])
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _plural(kind: Any) -> str:
    return {int: "integers", float: "numbers", str: "names"}.get(kind, "names")


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _with(config: Any, names: list[str], value: Any) -> Any:
    if len(names) > 1:
        value = _with(getattr(config, names[0]), names[1:], value)
    return replace(config, **{names[0]: value})


def _documented(cls: type) -> dict[str, str]:
    """Descriptions from the `Args:` section of a Google-style docstring, first sentence only."""
    _, _, section = (cls.__doc__ or "").partition("Args:\n")
    entries: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if not line.strip():
            break
        before, colon, after = line.strip().partition(":")
        if colon and before.isidentifier():
            name, line = before, after
        if name:
            entries[name] = f"{entries.get(name, '')} {line.strip()}".strip()
    return {name: text.split(". ")[0].rstrip(".") for name, text in entries.items()}
