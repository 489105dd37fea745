"""Parts of torch whose second derivative is wrong, spelled out in operations whose second derivative is right.

torch differentiates `aten::_weight_norm` twice as if the norm of the weights were a constant (torch 2.6 to 2.13): the
curvature of two layers of five units is a third off, without a word. w = g·v/‖v‖ written out has no such formula.

And what torch leaves out under a mode: `F.l1_loss` hands a `TorchFunctionMode` its arguments without `weight`.
"""

import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.utils.weight_norm import WeightNorm


class _WeightNormParametrization(_WeightNorm):
    """What `torch.nn.utils.parametrizations.weight_norm` puts into a module."""

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return _normalised(weight_g, weight_v, self.dim)


class _WeightNormHook(WeightNorm):
    """What `torch.nn.utils.weight_norm` puts among the hooks of a module."""

    def compute_weight(self, module: nn.Module) -> Any:
        return _normalised(getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v"), self.dim)


def _normalised(gain: Tensor, direction: Tensor, dim: int) -> Tensor:
    return direction * (gain / torch.norm_except_dim(direction, 2, dim))


SPELLED_OUT: dict[type, type] = {_WeightNorm: _WeightNormParametrization, WeightNorm: _WeightNormHook}
"""The class of an object → the class that takes its place, with the same attributes."""


def weighted_l1_loss(function: object, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Tensor | None:
    """`F.l1_loss` with a weight, spelled out, for a `TorchFunctionMode` that got the call; None of any other call.

        Σ w·|x − y| / Σ w,  its numerator, or its terms

    torch 2.13 does not hand the weight over, and the loss would be that of equal weights. It still stands in the frame
    of the function that was called. Calling it again would lose the weight to the next mode.
    """
    if function is not F.l1_loss:
        return None
    frame = sys._getframe()  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_code is not F.l1_loss.__code__:
        frame = frame.f_back
    weight = frame.f_locals.get("weight") if frame.f_code is F.l1_loss.__code__ else None
    if weight is None:
        return None
    terms = weight * (arguments[0] - arguments[1]).abs()
    reduction = keywords.get("reduction", "mean")
    if reduction == "none":
        return terms
    return terms.sum() / weight.sum() if reduction == "mean" else terms.sum()
