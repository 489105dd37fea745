"""Adam and AdamW, differentiable also where a gradient is exactly zero."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metagrad import tree
from metagrad.rules.base import State, safe_root
from metagrad.rules.settings import NumericRule, Setting, check, decayed, zeros
from metagrad.tree import Tree


@dataclass(frozen=True)
class Adam(NumericRule):
    """Adam as in `torch.optim.Adam`, with bias correction.

        g ← g + λφ,   m⁺ = β₁m + (1 − β₁)g,   v⁺ = β₂v + (1 − β₂)g²
        φ⁺ = φ − α·m̂/(√(v̂ + ε_root) + ε),   m̂ = m⁺/(1 − β₁^{k+1}),   v̂ = v⁺/(1 − β₂^{k+1})

    Each setting but `betas` is a number, a schedule k ↦ number, or `Learned(value, per=…)`.
    With ε_root = 0 the numbers are torch's own, and √0 is given the derivative 0: there the step is m̂/ε, whose
    derivative is exactly α/ε. Such steps amplify: a meta-gradient through them can be of the size of 1/ε. A larger
    `eps` or an `eps_root` (as in Optax and TorchOpt, 1e-8 in published runs) tames it, and changes the steps.
    Cost: elementwise; three state copies. Source: Kingma and Ba 2015.

    Args:
        lr: α.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ, added to the gradient.
        eps_root: ε_root, inside the root.

    Raises:
        ValueError: `lr` or `eps` is not positive, a beta is not in [0, 1), `weight_decay` or `eps_root` is negative.

    Example:
        >>> import torch
        >>> rule, adapted = Adam(lr=0.1), {"w": torch.tensor([1.0])}
        >>> rule.step(rule.initial_state(adapted), {"w": torch.tensor([2.0])}, meta={}, k=0)["adapted"]
        {'w': tensor([0.9000])}
    """

    lr: Setting = 0.001
    betas: tuple[float, float] = (0.9, 0.999)
    eps: Setting = 1e-8
    weight_decay: Setting = 0.0
    eps_root: Setting = 0.0

    def __post_init__(self) -> None:
        check("lr", self.lr, above=0)
        check_betas(self.betas)
        check("eps", self.eps, above=0)
        check("weight_decay", self.weight_decay, least=0)
        check("eps_root", self.eps_root, least=0)

    def initial_state(self, adapted: Tree) -> State:
        """Both moments at zero."""
        return {"adapted": adapted, "first": zeros(adapted), "second": zeros(adapted)}

    def step(self, state: State, gradient: Tree, meta: Tree, k: int) -> State:
        """Move the moments, then the parameters."""
        return self._along(decayed(self, gradient, state["adapted"], meta, k), state, meta, k)

    def _along(self, slope: Tree, state: State, meta: Tree, k: int) -> State:
        adapted = state["adapted"]
        short, long = self.betas
        first = tree.map(lambda m, g: short * m + (1 - short) * g, state["first"], slope)
        second = tree.map(lambda v, g: long * v + (1 - long) * g * g, state["second"], slope)
        lead, lag = 1 - short ** (k + 1), 1 - long ** (k + 1)
        settings = [self.numbers(name, adapted, meta, k) for name in ("lr", "eps", "eps_root")]

        def descended(p: Tensor, m: Tensor, v: Tensor, a: Any, e: Any, root: Any) -> Tensor:
            return p - a * (m / lead) / (safe_root(v / lag + root) + e)

        return {
            "adapted": tree.map(descended, adapted, first, second, *settings),
            "first": first,
            "second": second,
        }


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, as in `torch.optim.AdamW`: φ ← (1 − αλ)·φ before the step of `Adam`.

    Arguments, errors and cost as `Adam`; the meta-gradient includes the factor 1 − αλ.
    Source: Loshchilov and Hutter 2019.

    Example:
        >>> import torch
        >>> rule, adapted = AdamW(lr=0.1, weight_decay=0.5), {"w": torch.tensor([1.0])}
        >>> rule.step(rule.initial_state(adapted), {"w": torch.tensor([2.0])}, meta={}, k=0)["adapted"]
        {'w': tensor([0.8500])}
    """

    weight_decay: Setting = 0.01

    def step(self, state: State, gradient: Tree, meta: Tree, k: int) -> State:
        """Decay the parameters, then step."""
        adapted = state["adapted"]
        if not self.is_zero("weight_decay"):
            rate, weight = (self.numbers(name, adapted, meta, k) for name in ("lr", "weight_decay"))
            adapted = tree.map(lambda p, a, w: p * (1 - a * w), adapted, rate, weight)
        return self._along(gradient, {**state, "adapted": adapted}, meta, k)


def check_betas(betas: object) -> None:
    """Require two numbers in [0, 1).

    Raises:
        TypeError: not a pair of numbers.
        ValueError: out of range.
    """
    if not isinstance(betas, tuple | list) or len(betas) != 2:  # pyright: ignore[reportUnknownArgumentType]
        raise TypeError(f"betas must be a pair of numbers such as (0.9, 0.999), got {betas!r}")
    for beta in betas:  # pyright: ignore[reportUnknownVariableType]
        if callable(beta) or not isinstance(beta, int | float):
            raise TypeError(f"each of betas must be a number, got {beta!r}")
        check("each of betas", beta, least=0, below=1)
