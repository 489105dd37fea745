"""A pure function of any `nn.Module`: its tree of modules copied for one call, with given tensors as its parameters.

Only structure is copied: modules, their dicts of parameters and buffers, and what their attributes hold. Parameters are
not copied, so it takes some microseconds a module. The user's module is read and never written, so several threads may
call one module, and whatever a forward pass leaves behind stays in the copy.
"""

import copy
import functools
import types
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from metagrad import structure
from metagrad.kernels import plain_attention, without_cudnn
from metagrad.remedies import add_remedy
from metagrad.spelled_out import SPELLED_OUT

Result = TypeVar("Result")
Statistics = Literal["batch", "running"] | None


def call(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Predictions of `module` with `parameters` in place of its own: pure, twice differentiable, the module untouched.

    As `evaluate` of the module itself.

    Args:
        module: any module of one input tensor.
        parameters: dotted names as in `module.named_parameters()`; tied parameters under their first name.
        inputs: [N, ...].

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> call(layer, {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, torch.tensor([[3.0, 4.0]]))
        tensor([[7.]])
    """
    return evaluate(_forward, [(module, parameters)], inputs.clone())  # which the module may write on


def called(module: nn.Module, statistics: Statistics, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `module(*args, **kwargs)` gives, neither the module nor the arguments written on."""
    args, kwargs = structure.map(Tensor.clone, (args, kwargs))
    return evaluate(lambda private, _: private(*args, **kwargs), [(module, {})], None, statistics)


def evaluate(
    function: Callable[..., Result],
    modules: Sequence[tuple[nn.Module, Mapping[str, Tensor]]],
    data: Any,
    statistics: Statistics = None,
) -> Result:
    """`function(first, data, *others)` at private copies of modules with other parameters, twice differentiable.

    Attention runs on the math backend, because the fused kernels have no second derivative, and recurrent layers
    outside cuDNN for the same reason.

    Args:
        function: of modules and data; what it does to the modules stays in the copies.
        modules: each with its parameters, as for `with_parameters`.
        data: handed on as it is.
        statistics: as for `with_parameters`.
    """
    first, *others = [with_parameters(module, parameters, statistics) for module, parameters in modules]
    copies = (first, *others)
    recurrent = torch.backends.cudnn.is_available() and any(
        isinstance(part, nn.RNNBase) for module in copies for part in module.modules()
    )
    with plain_attention, without_cudnn if recurrent else nullcontext():
        try:
            return function(first, data, *others)
        except (RuntimeError, ValueError) as error:
            add_remedy(error)
            raise


def check_statistics(statistics: object) -> None:
    """Require "batch", "running" or None.

    Raises:
        ValueError: anything else.
    """
    if statistics not in ("batch", "running", None):
        raise ValueError(
            f"batch_statistics must be 'batch', 'running' or None for the module's own mode, got {statistics!r}"
        )


def with_parameters(module: nn.Module, parameters: Mapping[str, Tensor], statistics: Statistics = None) -> nn.Module:
    """A copy of the tree of modules with `parameters` in place of its own, to be called and thrown away.

    Parameters that are not named are the module's. In train mode batch norm normalises by the statistics of its inputs
    and leaves running ones alone (the convention of MAML); in eval mode by the running ones, as everywhere. Buffers are
    copied. Lists, dicts, bound methods, closures, defaults and weak references that hold parts of the module hold those
    of the copy; so do objects of other classes in whose attributes they stand. What else there is, is shared. A module
    that `torch.compile` made is the one inside it, uncompiled.

    Args:
        module: any module.
        parameters: dotted names as in `module.named_parameters()`; tied parameters under their first name.
        statistics: by which batch norm normalises, whatever its mode: "batch" or "running"; None by its mode.
    """
    taken = {id(p): parameters[name] for name, p in module.named_parameters() if name in parameters}
    return _Copying(taken, statistics).module(module)


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that require a gradient, by dotted name, tied ones once.

    Raises:
        ValueError: there are none.

    Example:
        >>> sorted(trainable(nn.Linear(2, 1)))
        ['bias', 'weight']
    """
    parameters: dict[str, Tensor] = {
        name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad
    }
    if not parameters:
        raise ValueError(
            f"the model {type(module).__name__} has no trainable parameter: nothing could be meta-learned; "
            "give it parameters or unfreeze some with requires_grad_(True)"
        )
    return parameters


def aliases(module: nn.Module) -> dict[str, list[str]]:
    """All dotted names of each trainable parameter, by its first: more than one where weights are tied."""
    first = {id(p): name for name, p in trainable(module).items()}
    names: dict[str, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            names.setdefault(first[id(parameter)], []).append(name)
    return names


def _forward(module: nn.Module, inputs: Tensor) -> Tensor:
    return module(inputs)


_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, type})
_PARTS = (nn.Module, Tensor, types.MethodType)
_SLOTS = frozenset({"_parameters", "_buffers", "_modules"})
# Tables that every module has, most of them empty. Saving and loading use the others, not a call.
_HOOKS = frozenset(name for name in vars(nn.Module()) if name.startswith("_forward"))
_SHARED = frozenset(vars(nn.Module())) - _SLOTS - _HOOKS
_STATISTICS = frozenset({"running_mean", "running_var"})


class _Copying:
    """One copy, in which every object of the original occurs once.

    Args:
        made: what stands in the copy for an object of the original, by its `id`; grows with the copy.
        statistics: by which batch norm normalises.
    """

    def __init__(self, made: dict[int, Any], statistics: Statistics) -> None:
        self._made, self._statistics = made, statistics

    def module(self, original: nn.Module) -> nn.Module:
        """The copy of a module and of all below it."""
        if id(original) in self._made:
            return self._made[id(original)]
        if type(original).__name__ == "OptimizedModule":  # what `torch.compile` makes, which is differentiated once
            self._made[id(original)] = made = self.module(original.get_submodule("_orig_mod"))
            return made
        kind, state = type(original), vars(original)
        made = cast(nn.Module, object.__new__(SPELLED_OUT.get(kind, kind)))
        self._made[id(original)] = made
        attributes: dict[str, Any] = {}
        for name, value in state.items():
            if type(value) in _PLAIN or name in _SHARED:
                attributes[name] = value
            elif name in _HOOKS and not value:
                attributes[name] = type(value)()
            elif name not in _SLOTS:
                attributes[name] = self.value(value, owned=True)
        dropped: frozenset[str] = frozenset()
        if isinstance(original, _BatchNorm):
            by_batch = original.training if self._statistics is None else self._statistics == "batch"
            attributes["training"] = by_batch
            if by_batch:
                dropped = _STATISTICS  # without running statistics it takes the batch's
            attributes["momentum"] = 0.0  # None would have it read how many batches it has seen
        attributes["_parameters"] = {name: self._made.get(id(p), p) for name, p in state["_parameters"].items()}
        attributes["_buffers"] = {
            name: None if name in dropped or buffer is None else self._buffer(buffer)
            for name, buffer in state["_buffers"].items()
        }
        attributes["_modules"] = {
            name: None if child is None else self.module(child) for name, child in state["_modules"].items()
        }
        attributes["_compiled_call_impl"] = None  # what `module.compile()` leaves behind calls the original
        object.__setattr__(made, "__dict__", attributes)
        return made

    def value(self, value: Any, owned: bool) -> Any:
        """What stands for any object.

        Args:
            value: the object.
            owned: whether the module holds it, so that containers must not be shared; else only what has to change is
                copied.
        """
        kind = type(value)
        if kind in _PLAIN:
            return value
        if id(value) in self._made:
            return self._made[id(value)]
        if isinstance(value, nn.Module):
            return self.module(value)
        if isinstance(value, list | dict | set):
            return self._container(value, owned)
        if isinstance(value, tuple):
            parts = [self.value(part, owned) for part in value]
            if _same(parts, value):
                return value
            return tuple(parts) if kind is tuple else kind(*parts)  # a named tuple
        if kind is types.MethodType:
            return types.MethodType(value.__func__, self.value(value.__self__, False))
        if kind is functools.partial:
            keywords = {name: self.value(part, False) for name, part in value.keywords.items()}
            positional = [self.value(part, False) for part in value.args]
            return functools.partial(self.value(value.func, False), *positional, **keywords)
        if kind is types.FunctionType and (value.__closure__ or value.__defaults__ or value.__kwdefaults__):
            return self._function(value)
        if kind is weakref.ref and value() is not None:
            target = self.value(value(), False)  # which the copy holds, or the original does
            return value if target is value() else weakref.ref(target)
        if kind in SPELLED_OUT:
            replaced = object.__new__(SPELLED_OUT[kind])
            replaced.__dict__.update(vars(value))
            return replaced
        if type(getattr(value, "__dict__", None)) is dict and kind not in (types.FunctionType, types.ModuleType):
            return self._object(value)
        return value

    def _buffer(self, buffer: Tensor) -> Tensor:
        if id(buffer) not in self._made:
            self._made[id(buffer)] = buffer.clone()
        return self._made[id(buffer)]

    def _container(self, value: Any, owned: bool) -> Any:
        self._made[id(value)] = made = copy.copy(value)
        if isinstance(value, dict):
            made.update((name, self.value(part, owned)) for name, part in value.items())
            changed = not _same(made.values(), value.values())
        else:
            parts = [self.value(part, owned) for part in value]
            made.clear()
            made.extend(parts) if isinstance(value, list) else made.update(parts)
            changed = not _same(parts, value)
        if not changed and not owned:
            self._made[id(value)] = value
        return self._made[id(value)]

    def _object(self, value: Any) -> Any:
        """An object of another class: itself, unless one of its attributes is a part of the module."""
        self._made[id(value)] = value
        parts = {name: part for name, part in vars(value).items() if isinstance(part, _PARTS)}
        own = {name: self.value(part, False) for name, part in parts.items()}
        if not _same(own.values(), parts.values()):
            self._made[id(value)] = made = copy.copy(value)
            vars(made).update(own)
        return self._made[id(value)]

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        """The function itself, unless it closes over parts of the module, or has some as defaults."""
        cells, defaults, keywords = function.__closure__ or (), function.__defaults__, function.__kwdefaults__
        self._made[id(function)] = function  # it may close over itself
        own = [self._cell(cell) for cell in cells]
        own_defaults, own_keywords = self.value(defaults, False), self.value(keywords, False)
        if _same(own, cells) and own_defaults is defaults and own_keywords is keywords:
            return function
        made = types.FunctionType(function.__code__, function.__globals__, function.__name__, own_defaults, tuple(own))
        made.__kwdefaults__ = own_keywords
        made.__dict__.update(function.__dict__)
        self._made[id(function)] = made
        return made

    def _cell(self, cell: types.CellType) -> types.CellType:
        try:
            content = cell.cell_contents
        except ValueError:  # an empty cell
            return cell
        made = self.value(content, False)
        return cell if made is content else types.CellType(made)


def _same(first: Iterable[object], second: Iterable[object]) -> bool:
    return all(a is b for a, b in zip(first, second, strict=True))
