"""Whether a checkpoint fits what it is to be loaded into: names, kinds, shapes and dtypes, before anything is loaded.

torch's own `load_state_dict` looks at little: moments of another shape end the process in a fused kernel, and a text in
place of a number is met many steps later.
"""

import copy
import math
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_EXTRA = "_extra_state"  # ending of what a module keeps beside its tensors; the module itself judges it


def fitted(saved: Any, own: Any, where: str) -> Any:
    """`saved`, its tensors copied, if it is built as `own` is; floats must be finite, and texts the same.

    Raises:
        ValueError: it is not; the sentence names the place as `where`, what stands there and what should.
    """
    match own:
        case Tensor():
            return _tensor(saved, own, where)
        case Mapping():
            return _mapping(saved, own, where)
        case list() | tuple():
            if not isinstance(saved, list | tuple) or len(saved) != len(own):
                raise ValueError(f"{where} should have {len(own)} entries, and is {_what(saved)}")
            pairs = enumerate(zip(saved, own, strict=True))
            return type(own)([fitted(value, like, f"{where}[{i}]") for i, (value, like) in pairs])
        case bool() | str() | None:
            fits = type(saved) is type(own) and (saved == own or isinstance(own, bool))
        case int():
            fits = type(saved) is int
        case float():
            fits = type(saved) in (int, float) and (_finite(saved) or saved == own)
        case _:
            fits = type(saved) is type(own)
    if not fits:
        raise ValueError(f"{where} should be {_what(own)}, and is {_what(saved)}")
    return saved


def fitted_weights(saved: Any, learner: nn.Module, where: str) -> dict[str, Any]:
    """The state of a module, if it has this module's names, shapes and dtypes; ValueError otherwise."""
    own = learner.state_dict()
    named(saved, own, where)
    judged_elsewhere = [name for name in own if name.endswith(_EXTRA)]
    return {
        name: saved[name] if name in judged_elsewhere else fitted(value, own[name], f"{where} {name}")
        for name, value in saved.items()
    }


def most_bytes(learner: nn.Module) -> int:
    """More than a checkpoint of this module, with its weights and moments of any of torch's optimizers, takes."""
    tensors = [value for value in learner.state_dict().values() if isinstance(value, Tensor)]
    return 8 * sum(tensor.nbytes for tensor in tensors) + 2**14 * len(tensors) + 2**26


def fitted_optimizer(saved: Any, optimizer: torch.optim.Optimizer, where: str) -> dict[str, Any]:
    """The state of an optimizer, if this one would have such a state; ValueError otherwise.

    A parameter that was never moved has none. Settings that only another version of torch has are left alone.
    """
    own = _after_a_step(optimizer)
    named(saved, own, where)
    groups, moments = saved["param_groups"], saved["state"]
    settings = [_floating(group) | {"params": group["params"]} for group in own["param_groups"]]
    if isinstance(groups, list) and len(groups) == len(settings):
        groups = [_completed(group, like) for group, like in zip(groups, settings, strict=True)]
    moved = {name: own["state"].get(name) for name in moments} if isinstance(moments, dict) else own["state"]
    return {
        "param_groups": fitted(groups, settings, f"{where} param_groups"),
        "state": fitted(moments, moved, f"{where} state"),
    }


def fitted_scheduler(saved: Any, scheduler: torch.optim.lr_scheduler.LRScheduler, where: str) -> dict[str, Any]:
    """The state of a scheduler, if this one can go on from it; ValueError otherwise.

    Its numbers may be of the right kind and still be impossible, such as a course of 0 steps, so a copy tries.
    """
    own = {
        name: _floating(value) if isinstance(value, list) else value for name, value in scheduler.state_dict().items()
    }
    values = fitted(_completed(saved, own), own, where)
    try:
        twin = copy.deepcopy(scheduler)
    except TypeError:  # a scheduler of the user's holds what cannot be copied: it is not tried
        return values
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the copy's optimizer has taken no step
            twin.load_state_dict(copy.deepcopy(values))
            twin.step()
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{where} is impossible: {error}") from error
    if not all(_finite(rate) for rate in twin.get_last_lr()):
        raise ValueError(f"{where} is impossible: the next learning rate would be {twin.get_last_lr()}")
    return values


def named(saved: Any, own: Iterable[Any], where: str) -> None:
    """Refuse, with a ValueError, what does not have exactly these names."""
    if not isinstance(saved, Mapping):
        raise ValueError(f"{where} should hold names and values, and is {_what(saved)}")
    own = list(own)
    odd = [name for name in own if name not in saved] + [name for name in saved if name not in own]
    if odd:
        raise ValueError(f"{where} {'lacks' if odd[0] in own else 'should not have'} {_brief(odd[0])}")


def whole(value: Any, least: int, where: str) -> int:
    """An integer of at least `least`; ValueError for anything else."""
    if type(value) is not int or value < least:
        raise ValueError(f"{where} should be an integer of at least {least}, and is {_what(value)}")
    return value


def finite_or_none(value: Any, where: str) -> float | None:
    """A finite number, or None; ValueError for anything else."""
    if value is not None and not _finite(value):
        raise ValueError(f"{where} should be a number or none, and is {_what(value)}")
    return value


def _tensor(saved: Any, own: Tensor, where: str) -> Tensor:
    plain = isinstance(saved, Tensor) and saved.layout == torch.strided and saved.device.type == "cpu"
    if not plain or saved.is_nested or (saved.shape, saved.dtype) != (own.shape, own.dtype):
        raise ValueError(f"{where} should be {_what(own)}, and is {_what(saved)}")
    # A copy in rows: what was saved may repeat one number by a stride of 0, or share its memory with another.
    return saved.detach().clone(memory_format=torch.contiguous_format)


def _mapping(saved: Any, own: Mapping[Any, Any], where: str) -> Any:
    named(saved, own, where)
    made: Any = copy.copy(own)  # of its own class: a Counter, an OrderedDict
    made.update({name: fitted(saved[name], like, f"{where} {name}") for name, like in own.items()})
    return made


def _completed(saved: Any, own: Mapping[Any, Any]) -> Any:
    """Settings that this version of torch has: as saved, but for switches, which are those of this machine."""
    if not isinstance(saved, Mapping):
        return saved
    return {
        name: value if value is None or isinstance(value, bool) else saved.get(name, value)
        for name, value in own.items()
    }


def _floating(own: Any) -> Any:
    """The same with floats for integers: a learning rate of 1 is 0.9 later."""
    if isinstance(own, list):
        return [_floating(value) for value in own]
    if isinstance(own, dict):
        return {name: _floating(value) for name, value in own.items()}
    return float(own) if type(own) is int else own


def _after_a_step(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What the state of such an optimizer looks like, from a step of a copy on zero gradients."""
    twin = object.__new__(type(optimizer))  # with all attributes, which torch's own way of copying leaves out
    twin.__dict__.update(optimizer.__dict__)
    twin.__dict__.pop("step", None)  # a scheduler counts the steps of the original through it
    for hooks in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
        setattr(twin, hooks, OrderedDict())
    twin.state = defaultdict(dict)
    twin.param_groups = [
        {**group, "params": [nn.Parameter(torch.zeros_like(p)) for p in group["params"]]}
        for group in optimizer.param_groups
    ]
    for group in twin.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    twin.step()
    return twin.state_dict()


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)


def _what(value: Any) -> str:
    """A value in a few words, however large it is."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        return f"a {type(value).__name__} of {len(value)}"
    return _brief(value) if isinstance(value, int | float | str) or value is None else f"a {type(value).__name__}"


def _brief(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 64:  # str refuses very long ones, and float those beyond 1e308
        return "a huge integer"
    text = "none" if value is None else repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
