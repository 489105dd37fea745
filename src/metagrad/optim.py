"""An outer optimizer for meta-objectives, whose smoothness grows with the size of the gradient."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from metagrad import checks


class NormalizedSGD(torch.optim.Optimizer):
    """Normalised or clipped SGD with momentum (SNGDM).

        m ← β·m + (1 − β)·g;   θ ← θ − η·m/‖m‖   (normalised)   or   θ ← θ − min(η, γ/‖m‖)·m   (clipped)

    The norm is taken over all parameter groups together: the meta-gradient is one vector. In the normalised form η is
    the length of every step. A momentum of exactly zero norm moves nothing.
    Source: Cutkosky and Mehta 2020; argued for meta-learning by Chayti and Jaggi (FO-B-MAML).

    Args:
        params: as for any torch optimizer.
        lr: η > 0.
        momentum: β in [0, 1).
        clip: γ > 0 for the clipped form; None for the normalised one.

    Raises:
        ValueError: a hyper-parameter out of range.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> weight.grad = torch.tensor([30.0, 40.0])
        >>> NormalizedSGD([weight], lr=1.0, momentum=0.0).step()  # one step of length 1 along the gradient
        >>> weight.data
        tensor([2.4000, 3.2000])
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        clip: float | None = None,
    ) -> None:
        checks.number("lr", lr, above=0)
        checks.number("momentum", momentum, least=0, below=1)
        if clip is not None:
            checks.number("clip", clip, above=0)
        super().__init__(params, {"lr": lr, "momentum": momentum, "clip": clip})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; `closure`, where given, recomputes the loss with gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moves: list[tuple[Tensor, Tensor, dict[str, Any]]] = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1.0 - group["momentum"])
                moves.append((parameter, state["momentum"], group))
        if not moves:
            return loss
        device = moves[0][1].device
        # In float32 at least: the reciprocal of a small norm has no place in float16.
        norm = torch.stack(
            [m.to(torch.promote_types(m.dtype, torch.float32)).norm().to(device) for _, m, _ in moves]
        ).norm()
        inverse = torch.where(norm > 0, 1.0 / norm, torch.zeros_like(norm))
        for parameter, momentum, group in moves:
            if group["clip"] is None:
                factor = group["lr"] * inverse
            else:
                factor = torch.clamp(group["clip"] * inverse, max=group["lr"])
            parameter.sub_((momentum * factor.to(parameter.device)).to(parameter.dtype))
        return loss
