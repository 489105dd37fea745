"""What a traced computation depended on beside its arguments: found again at each call, so that a trace is never stale.

A trace bakes in every number, flag and function that Python read on the way. A survey walks over the objects that the
computation can reach and returns two things: a *mark*, equal as long as a trace stays valid, and the *tensors* met, in
order, which are handed to the trace as inputs. So a changed rate, mode or loss traces again, and a buffer or a frozen
parameter whose values changed is simply read.
"""

import argparse
import dis
import functools
import itertools
import sys
import types
from collections.abc import Hashable, Mapping
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
_OUTSIDE = sys.stdlib_module_names | {"torch", "builtins"}
_BY_THEMSELVES = (Tensor, nn.Module, types.FunctionType)
_NAMESPACES = (types.SimpleNamespace, argparse.Namespace)

Names = frozenset[str] | None


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
    globals of functions are followed. Of any other object those attributes are that the code which leads to it names,
    or all where no code does. Objects of torch and of Python's own library, beside namespaces, and those without
    attributes count by identity: what changes inside them is not seen.
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
        self._met: dict[tuple[int, Names], int] = {}

    def mark(self, value: object, names: Names = None) -> Hashable:
        """What stands for a value; `names` are those in the code that leads to it, None where none does."""
        kind = type(value)
        if kind in _SIMPLE:  # most of what there is; a survey is made at each call
            return kind, value
        if isinstance(value, _PLAIN):
            # NaN differs from itself; its spelling does not.
            return type(value), repr(value) if isinstance(value, float) else value
        # Other code may read other attributes of the same object.
        met = id(value), None if isinstance(value, _BY_THEMSELVES) else names
        if met in self._met:
            return "again", self._met[met]
        self._met[met] = len(self._met)
        self.held.append(value)
        if isinstance(value, Tensor):
            self.tensors.append(value)
            return type(value), value.shape, value.dtype, value.device, value.stride(), value.requires_grad
        if isinstance(value, Mapping):
            items = cast(Mapping[object, object], value).items()
            return type(value), tuple((self.mark(k), self.mark(v, names)) for k, v in items)
        if isinstance(value, tuple | list):
            return type(value), tuple(self.mark(item, names) for item in cast(list[object], value))
        if isinstance(value, set | frozenset):
            return type(value), frozenset(self.mark(item) for item in cast(set[object], value))
        if isinstance(value, nn.Module):
            return self._module(value)
        if is_dataclass(value) and not isinstance(value, type):
            return type(value), tuple(self.mark(getattr(value, f.name), names) for f in fields(value))
        if isinstance(value, functools.partial):
            call = cast("functools.partial[Any]", value)
            own = _named_by(call.func)
            return "partial", self.mark(call.func), self.mark(call.args, own), self.mark(call.keywords, own)
        if isinstance(value, types.MethodType):
            return "method", self.mark(value.__self__, _named_by(value)), self.mark(value.__func__)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        return self._object(value, names)

    def _object(self, value: object, names: Names) -> Hashable:
        kind = type(value)
        if isinstance(value, types.ModuleType):
            named = {name: vars(value).get(name) for name in sorted(names or ())}
            return id(value), tuple((n, self.mark(v)) for n, v in named.items() if isinstance(v, (*_PLAIN, Tensor)))
        outside = kind.__module__.partition(".")[0] in _OUTSIDE and not isinstance(value, _NAMESPACES)
        if isinstance(value, type) or outside or not isinstance(getattr(value, "__dict__", None), dict):
            return "object", id(value)
        code = self._class(kind, "__call__", *(names or ()))
        read = None if names is None else names | code.names
        own = ((name, self.mark(part, read)) for name, part in vars(value).items() if read is None or name in read)
        return "object", id(value), tuple(own), code.marks

    def _module(self, module: nn.Module) -> Hashable:
        kind = type(module)
        code = _Code() if kind.__module__.startswith(_LIBRARIES) else self._class(kind, "forward")
        state = tuple(
            (name, self.mark(value, code.names))
            for name, value in vars(module).items()
            # Empty hook tables and the like are most of a module's attributes.
            if name not in _PASSIVE and not (name.startswith("_") and isinstance(value, dict) and not value)
        )
        return kind, state, code.marks

    def _class(self, kind: type, *entries: str) -> "_Code":
        """Some methods and plain attributes of a class, those that these name, and so on."""
        marks: list[Hashable] = []
        waiting, seen = sorted(entries), set[str]()
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
        return _Code(frozenset(seen), tuple(marks))

    def _function(self, function: types.FunctionType) -> Hashable:
        if f"{function.__module__}.".startswith(_LIBRARIES):
            return "object", id(function), self._closure(function)
        names = _named_by(function)
        return (
            "function",
            function.__code__,
            self.mark(function.__defaults__, names),
            self.mark(function.__kwdefaults__, names),
            self._closure(function),
            tuple(self.mark(function.__globals__.get(name), names) for name in _globals(function.__code__)),
        )

    def _closure(self, function: types.FunctionType) -> Hashable:
        cells = function.__closure__ or ()
        names = _named_by(function)
        return tuple(self.mark(cell.cell_contents, names) for cell in cells if _filled(cell))


@dataclass(frozen=True)
class _Code:
    """The names in some code of a class, and the marks of what it consists of."""

    names: frozenset[str] = frozenset()
    marks: tuple[Hashable, ...] = ()


def _named_by(function: object) -> frozenset[str]:
    code = getattr(function, "__code__", None)
    return frozenset(_names(code)) if isinstance(code, types.CodeType) else frozenset()


@functools.cache
def _globals(code: types.CodeType) -> tuple[str, ...]:
    """Globals that some code and the functions inside it read."""
    own = [step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    inside = (_globals(value) for value in code.co_consts if isinstance(value, types.CodeType))
    return tuple(dict.fromkeys([*own, *itertools.chain.from_iterable(inside)]))


@functools.cache
def _names(code: types.CodeType) -> tuple[str, ...]:
    """Globals and attributes that some code and the functions inside it name."""
    inside = (_names(value) for value in code.co_consts if isinstance(value, types.CodeType))
    return tuple([*code.co_names, *itertools.chain.from_iterable(inside)])


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 -- an empty cell raises when it is read
    except ValueError:
        return False
    return True
