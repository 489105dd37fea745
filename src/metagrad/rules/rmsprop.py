"""RMSprop."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metagrad import tree
from metagrad.rules.base import State, safe_root
from metagrad.rules.settings import NumericRule, Setting, check, decayed, zeros
from metagrad.tree import Tree


@dataclass(frozen=True)
class RMSprop(NumericRule):
    """RMSprop as in `torch.optim.RMSprop`.

        g ← g + λφ,   v⁺ = ρv + (1 − ρ)g²,   d = g/(√v⁺ + ε)   (centered: v⁺ less the squared mean of g)
        φ⁺ = φ − α·d,   or with momentum μ   b⁺ = μb + d,   φ⁺ = φ − α·b⁺

    Each setting is a number, a schedule k ↦ number, or `Learned(value, per=…)`. √0 is given the derivative 0, the
    right one where all gradients so far are zero. When it is wrong: with `centered`, where gradients are equal and not
    zero, v⁺ less the mean cancels and rounding decides the derivative.
    Cost: elementwise; two state copies, and one each for momentum and centering. Source: Tieleman and Hinton 2012.

    Raises:
        ValueError: `lr` or `eps` is not positive, `alpha` (ρ) or `momentum` is not in [0, 1), `weight_decay` negative.

    Example:
        >>> import torch
        >>> rule, adapted = RMSprop(lr=0.1, alpha=0.75), {"w": torch.tensor([1.0])}
        >>> rule.step(rule.initial_state(adapted), {"w": torch.tensor([2.0])}, meta={}, k=0)["adapted"]
        {'w': tensor([0.8000])}
    """

    lr: Setting = 0.01
    alpha: Setting = 0.99
    eps: Setting = 1e-8
    weight_decay: Setting = 0.0
    momentum: Setting = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        check("lr", self.lr, above=0)
        check("alpha", self.alpha, least=0, below=1)
        check("eps", self.eps, above=0)
        check("weight_decay", self.weight_decay, least=0)
        check("momentum", self.momentum, least=0, below=1)

    def initial_state(self, adapted: Tree) -> State:
        """All averages at zero."""
        names = ["second", *(["mean"] if self.centered else []), *([] if self.is_zero("momentum") else ["velocity"])]
        return {"adapted": adapted, **{name: zeros(adapted) for name in names}}

    def step(self, state: State, gradient: Tree, meta: Tree, k: int) -> State:
        """Move the averages, then the parameters."""
        adapted = state["adapted"]
        slope = decayed(self, gradient, adapted, meta, k)
        rate, keep, small = (self.numbers(name, adapted, meta, k) for name in ("lr", "alpha", "eps"))
        after: State = {}
        after["second"] = tree.map(lambda v, g, r: r * v + (1 - r) * g * g, state["second"], slope, keep)
        spread = after["second"]
        if self.centered:
            after["mean"] = tree.map(lambda m, g, r: r * m + (1 - r) * g, state["mean"], slope, keep)
            spread = tree.map(lambda v, m: v - m * m, spread, after["mean"])

        def scaled(g: Tensor, v: Tensor, e: Any) -> Tensor:
            return g / (safe_root(v) + e)

        move = tree.map(scaled, slope, spread, small)
        if not self.is_zero("momentum"):
            weight = self.numbers("momentum", adapted, meta, k)
            move = tree.map(lambda b, d, w: w * b + d, state["velocity"], move, weight)
            after["velocity"] = move
        return {"adapted": tree.map(lambda p, a, d: p - a * d, adapted, rate, move), **after}
