"""Any nesting of tensors as a list of leaves, and back.

Data comes as mappings (Hugging Face's `BatchEncoding` is one), lists, tuples, named tuples and dataclasses, nested as
the user's model likes them. Their tensors are the leaves; whatever is no tensor is carried along as it is.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

Data = Any
"""A tensor, or any nesting of containers that holds tensors."""


@dataclass(frozen=True, eq=False)
class Structure:
    """How leaves make up a value: compares equal where kinds of containers, names and other values are equal.

    Attributes:
        key: what is compared and hashed.
        paths: the path of each leaf, such as "inputs.ids" or "[1]".
        build: leaves ↦ the value.
    """

    key: tuple[object, ...]
    paths: tuple[str, ...]
    build: Callable[[Iterator[Tensor]], Data]

    def __eq__(self, other: object) -> bool:
        """Whether both build the same value from the same leaves."""
        return isinstance(other, Structure) and self.key == other.key

    def __hash__(self) -> int:
        """By what is compared."""
        return hash(self.key)

    def unflatten(self, leaves: Iterable[Tensor]) -> Data:
        """Put leaves together again."""
        return self.build(iter(leaves))


def flatten(value: Data) -> tuple[list[Tensor], Structure]:
    """The tensors of a nesting of containers, in order, and how they are put together.

    >>> import torch
    >>> leaves, structure = flatten({"ids": torch.zeros(2), "kind": "text", "mask": [torch.ones(2)]})
    >>> structure.paths
    ('ids', 'mask[0]')
    >>> structure.unflatten(leaves)["kind"]
    'text'
    """
    leaves: list[Tensor] = []
    paths: list[str] = []
    key, build = _taken_apart(value, "", leaves, paths)
    return leaves, Structure(key, tuple(paths), build)


def map(fn: Callable[..., Tensor], value: Data) -> Data:
    """Apply `fn` to every tensor."""
    leaves, structure = flatten(value)
    return structure.unflatten(fn(leaf) for leaf in leaves)


def leaves(value: Data) -> list[Tensor]:
    """The tensors, in order."""
    return flatten(value)[0]


_Part = tuple[tuple[object, ...], Callable[[Iterator[Tensor]], Data]]


def _taken_apart(value: Data, path: str, leaves: list[Tensor], paths: list[str]) -> _Part:
    if isinstance(value, Tensor):
        leaves.append(value)
        paths.append(path)
        return (Tensor,), next
    if isinstance(value, Mapping):
        return _mapping(cast(Mapping[Any, Any], value), path, leaves, paths)
    if isinstance(value, tuple | list):
        return _sequence(cast(Sequence[Any], value), path, leaves, paths)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _dataclass(value, path, leaves, paths)
    return ("other", _Other(value)), lambda _: value


def _mapping(value: Mapping[Any, Any], path: str, leaves: list[Tensor], paths: list[str]) -> _Part:
    prefix = f"{path}." if path else ""
    parts = {name: _taken_apart(item, f"{prefix}{name}", leaves, paths) for name, item in value.items()}
    plain = type(value) is dict

    def build(given: Iterator[Tensor]) -> Data:
        items = {name: make(given) for name, (_, make) in parts.items()}
        if plain or not hasattr(value, "__setitem__"):
            return items
        rebuilt = _copied(cast(dict[Any, Any], value))
        for name, item in items.items():
            rebuilt[name] = item
        return rebuilt

    return (type(value), tuple((name, part[0]) for name, part in parts.items())), build


def _copied(value: dict[Any, Any]) -> dict[Any, Any]:
    """A mapping to write on, which keeps what else it carries, as the encodings of `BatchEncoding`."""
    copied = copy.copy(value)
    if not isinstance(value, dict) and not hasattr(value, "__copy__"):
        # Where it keeps its items in a dict of its own, a copy would share that dict.
        vars(copied).update({name: dict(own) for name, own in vars(value).items() if type(own) is dict})
    return copied


def _sequence(value: Sequence[Any], path: str, leaves: list[Tensor], paths: list[str]) -> _Part:
    kind: Any = type(value)
    names: Sequence[str] | None = getattr(kind, "_fields", None)
    at = [f"[{i}]" for i in range(len(value))] if names is None else [f".{name}" if path else name for name in names]
    parts = [_taken_apart(item, f"{path}{place}", leaves, paths) for place, item in zip(at, value, strict=True)]

    def build(given: Iterator[Tensor]) -> Data:
        items = [make(given) for _, make in parts]
        return kind(items) if names is None else kind(*items)

    return (kind, tuple(part[0] for part in parts)), build


def _dataclass(value: Any, path: str, leaves: list[Tensor], paths: list[str]) -> _Part:
    prefix = f"{path}." if path else ""
    # Also what it was given beside its fields: tensors made in `__post_init__` belong to the same tasks.
    names = dict.fromkeys([*(field.name for field in dataclasses.fields(value)), *getattr(value, "__dict__", {})])
    cached = {name for name in names if isinstance(getattr(type(value), name, None), functools.cached_property)}
    parts = {
        name: _taken_apart(getattr(value, name), f"{prefix}{name}", leaves, paths)
        for name in names
        if name not in cached
    }

    def build(given: Iterator[Tensor]) -> Data:
        # A copy, not a call of the constructor: that may check, convert or compute.
        rebuilt = copy.copy(value)
        for name in cached:
            del vars(rebuilt)[name]  # computed from other tensors
        for name, (_, make) in parts.items():
            object.__setattr__(rebuilt, name, make(given))
        return rebuilt

    return (type(value), tuple((name, part[0]) for name, part in parts.items())), build


class _Other:
    """A value that is no tensor, compared by equality where that is a plain answer and by identity elsewhere."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Other):
            return False
        if self.value is other.value:
            return True
        try:
            return type(self.value) is type(other.value) and bool(self.value == other.value)
        except (TypeError, ValueError):  # arrays and the like: no single answer
            return False

    def __hash__(self) -> int:
        return hash(type(self.value))
