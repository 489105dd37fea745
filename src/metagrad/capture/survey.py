"""What a traced computation depended on beside its arguments: found again at each call, so that a trace is never stale.

A trace bakes in every number, flag and function that Python read on the way. A survey walks over the objects that the
computation can reach and returns two things: a *mark*, equal as long as a trace stays valid, and the *tensors* met, in
order, which are handed to the trace as inputs. So a changed rate, mode or loss traces again, and a buffer or a frozen
parameter whose values changed is simply read.
"""

import functools
import itertools
import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, cast

import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.memory_format, Enum)
_SIMPLE = frozenset({bool, int, str, type(None)})
# State of `nn.Module` that cannot change what a module computes, or is walked by name below.
_PASSIVE = frozenset({"_non_persistent_buffers_set", "_state_dict_hooks", "_load_state_dict_pre_hooks"})
_LIBRARIES = ("torch.", "metagrad.")


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        mark: compares equal exactly while a trace made under it may be replayed.
        tensors: every tensor that is reachable, each once, in an order that the mark fixes.
        held: objects that the mark names by identity, kept alive so that no other can take their address.
    """

    mark: Hashable
    tensors: list[Tensor]
    held: list[object]


def survey(*roots: object) -> Survey:
    """Walk over modules, dataclasses, functions, containers and plain values that can be reached from `roots`.

    Attributes of modules and dataclasses, methods that `forward` calls, items of containers, and closures, defaults and
    plain globals of functions are followed. Any other object counts by identity: what changes inside it is not seen.
    """
    walk = _Walk()
    mark = tuple(walk.mark(root) for root in roots)
    return Survey((mark, _switches()), walk.tensors, walk.held)


def _switches() -> Hashable:
    """Global settings of torch that a trace or its compiled code depend on."""
    return (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        *((torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in ("cpu", "cuda")),
    )


class _Walk:
    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.held: list[object] = []
        self._met: dict[int, int] = {}

    def mark(self, value: object) -> Hashable:
        kind = type(value)
        if kind in _SIMPLE:  # most of what there is; a survey is made at each call
            return kind, value
        if isinstance(value, _PLAIN):
            # NaN differs from itself; its spelling does not.
            return type(value), repr(value) if isinstance(value, float) else value
        if id(value) in self._met:
            return "again", self._met[id(value)]
        self._met[id(value)] = len(self._met)
        self.held.append(value)
        if isinstance(value, Tensor):
            self.tensors.append(value)
            return type(value), value.shape, value.dtype, value.device, value.stride(), value.requires_grad
        if isinstance(value, Mapping):
            items = cast(Mapping[object, object], value).items()
            return type(value), tuple((self.mark(k), self.mark(v)) for k, v in items)
        if isinstance(value, tuple | list):
            return type(value), tuple(self.mark(item) for item in cast(list[object], value))
        if isinstance(value, set | frozenset):
            return type(value), frozenset(self.mark(item) for item in cast(set[object], value))
        if isinstance(value, nn.Module):
            return self._module(value)
        if is_dataclass(value) and not isinstance(value, type):
            return type(value), tuple(self.mark(getattr(value, f.name)) for f in fields(value))
        if isinstance(value, functools.partial):
            call = cast("functools.partial[Any]", value)
            return "partial", self.mark(call.func), self.mark(call.args), self.mark(call.keywords)
        if isinstance(value, types.MethodType):
            return "method", self.mark(value.__self__), self.mark(value.__func__)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        return "object", id(value)

    def _module(self, module: nn.Module) -> Hashable:
        state = tuple(
            (name, self.mark(value))
            for name, value in vars(module).items()
            # Empty hook tables and the like are most of a module's attributes.
            if name not in _PASSIVE and not (name.startswith("_") and isinstance(value, dict) and not value)
        )
        kind = type(module)
        return kind, state, None if kind.__module__.startswith(_LIBRARIES) else self._class(kind)

    def _class(self, kind: type[nn.Module]) -> Hashable:
        """`forward`, and the methods and plain attributes of the class that it names, and those name, and so on."""
        marks: list[Hashable] = []
        waiting, seen = ["forward"], set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            value: object = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
            value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if name == "forward" or isinstance(value, (*_PLAIN, types.FunctionType)):
                marks.append((name, self.mark(value)))
            if isinstance(value, types.FunctionType) and not f"{value.__module__}.".startswith(_LIBRARIES):
                waiting += _names(value.__code__)
        return tuple(marks)

    def _function(self, function: types.FunctionType) -> Hashable:
        if f"{function.__module__}.".startswith(_LIBRARIES):
            return "object", id(function), self._closure(function)
        return (
            "function",
            function.__code__,
            self.mark(function.__defaults__),
            self.mark(function.__kwdefaults__),
            self._closure(function),
            tuple(self._global(function, name) for name in _names(function.__code__)),
        )

    def _closure(self, function: types.FunctionType) -> Hashable:
        cells = function.__closure__ or ()
        return tuple(self.mark(cell.cell_contents) for cell in cells if _filled(cell))

    def _global(self, function: Callable[..., Any], name: str) -> Hashable:
        value = function.__globals__.get(name)
        if isinstance(value, (*_PLAIN, Tensor, types.FunctionType)):
            return self.mark(value)
        self.held.append(value)
        return "object", id(value)


def _names(code: types.CodeType) -> list[str]:
    """Globals and attributes that some code and the functions inside it name."""
    inside = (_names(value) for value in code.co_consts if isinstance(value, types.CodeType))
    return [*code.co_names, *itertools.chain.from_iterable(inside)]


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 -- an empty cell raises when it is read
    except ValueError:
        return False
    return True
