"""Which modules cannot be a pure, repeatable function that is differentiable twice, and the way out of each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.instancenorm import _InstanceNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrizations import _SpectralNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.utils.spectral_norm import SpectralNorm


@dataclass(frozen=True)
class Refusal:
    """One kind of module that is refused.

    Attributes:
        what: its name in the documentation.
        applies: whether a module is of this kind; modules below it are asked themselves.
        why: what is wrong with it, going on from its name.
        cure: what to do.
    """

    what: str
    applies: Callable[[nn.Module], bool]
    why: str
    cure: str


def check(module: nn.Module) -> None:
    """Refuse a model with a part that is in `REFUSED`, or with parameters that estimators cannot compute with.

    Raises:
        ValueError: names the part or parameter, what is wrong with it and the way out.
    """
    for path, part in module.named_modules():
        for refusal in REFUSED:
            if refusal.applies(part):
                name = f"{type(part).__name__} {path!r}" if path else type(part).__name__
                raise ValueError(f"{name} {refusal.why}; {refusal.cure}")
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.is_complex():
            raise ValueError(
                f"parameter {name!r} is {parameter.dtype}, and meta-gradients are of real numbers; keep "
                "torch.view_as_real of it as the parameter and view it as complex in forward"
            )
        if parameter.requires_grad and parameter.layout != torch.strided:
            raise ValueError(f"parameter {name!r} is {parameter.layout}; keep it dense, with to_dense()")


def draws(module: nn.Module) -> bool:
    """Whether a layer of torch's own in this module draws random numbers in its present mode.

    >>> draws(nn.Sequential(nn.Dropout(0.5)).train()), draws(nn.Sequential(nn.Dropout(0.5)).eval())
    (True, False)
    """
    return any(
        (part.training and (_rate(part) > 0 or isinstance(part, nn.RReLU)))
        or (
            isinstance(part, nn.FractionalMaxPool2d | nn.FractionalMaxPool3d)
            and getattr(part, "_random_samples") is None  # noqa: B009 -- private, and torch's type of it is wrong
        )
        for part in module.modules()
    )


def _rate(part: nn.Module) -> float:
    """The share of activations that a module drops in train mode."""
    if isinstance(part, _DropoutNd):
        return part.p
    return part.dropout if isinstance(part, nn.MultiheadAttention | nn.RNNBase) else 0.0


def _estimates_a_norm(part: nn.Module) -> bool:
    hooked = any(isinstance(hook, SpectralNorm) for hook in vars(part)["_forward_pre_hooks"].values())
    return part.training and (hooked or isinstance(part, _SpectralNorm))


def _embeds(part: nn.Module, setting: str) -> bool:
    return isinstance(part, nn.Embedding | nn.EmbeddingBag) and bool(getattr(part, setting))


def _lacks_parameters(part: nn.Module) -> bool:
    return isinstance(part, LazyModuleMixin) and any(map(is_lazy, part.parameters(recurse=False)))


REFUSED = (
    Refusal(
        "`spectral_norm`, old and new, in train mode",
        _estimates_a_norm,
        "moves its estimate of the spectral norm at each call and differentiates as if it did not, so its curvature is "
        "wrong",
        "call .eval() on it, which keeps the estimate and is differentiated rightly",
    ),
    Refusal(
        "`InstanceNorm` with `track_running_stats=True`",
        lambda part: isinstance(part, _InstanceNorm) and part.track_running_stats,
        "keeps running statistics",
        "build it with track_running_stats=False",
    ),
    Refusal(
        "`Embedding`, `EmbeddingBag` with `max_norm`",
        lambda part: _embeds(part, "max_norm"),
        "rescales its weights in place whenever it is called",
        "build it without max_norm and apply torch.renorm to what it returns",
    ),
    Refusal(
        "`Embedding`, `EmbeddingBag` with `scale_grad_by_freq`",
        lambda part: _embeds(part, "scale_grad_by_freq"),
        "has a gradient that is not that of the loss, and a curvature that is not that gradient's",
        "build it with scale_grad_by_freq=False",
    ),
    Refusal(
        "`Embedding`, `EmbeddingBag` with `sparse`",
        lambda part: _embeds(part, "sparse"),
        "has sparse gradients, which cannot be differentiated again",
        "build it with sparse=False",
    ),
    Refusal(
        "`CrossMapLRN2d`",
        lambda part: isinstance(part, nn.CrossMapLRN2d),
        "is an old-style autograd.Function without a second derivative",
        "take LocalResponseNorm, which is the same",
    ),
    Refusal(
        "`DataParallel`, `DistributedDataParallel`",
        lambda part: isinstance(part, nn.DataParallel | nn.parallel.DistributedDataParallel),
        "exchanges gradients only in a backward pass of its own, which a meta-gradient has none of",
        "give the module inside it (model.module), and average .grad across processes after learner.backward",
    ),
    Refusal(
        "`FullyShardedDataParallel`",
        lambda part: type(part).__name__ == "FullyShardedDataParallel",
        "calls the module inside it with parameters of its own",
        "give the module inside it",
    ),
    Refusal(
        "scripted and traced modules (`torch.jit`)",
        lambda part: isinstance(part, torch.jit.ScriptModule),
        "is compiled by torch.jit with its own parameters inside",
        "give the module that it was made from, and take capture='auto' for speed",
    ),
    Refusal(
        "lazy modules before their first call",
        _lacks_parameters,
        "has parameters without a shape",
        "call the model once on an example before making the learner",
    ),
)
"""All that are refused by kind."""
