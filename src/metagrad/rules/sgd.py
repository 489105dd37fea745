"""Gradient descent, with or without momentum."""

from dataclasses import dataclass

from torch import Tensor

from metagrad import tree
from metagrad.rules.base import At, State
from metagrad.rules.settings import NumericRule, Setting, check, decayed, zeros
from metagrad.tree import Tree


@dataclass(frozen=True)
class SGD(NumericRule):
    """Gradient descent as in `torch.optim.SGD`: the inner loop of MAML, and with learned rates that of Meta-SGD.

        g ← g + λφ,   v⁺ = μ·v + g,   φ⁺ = φ − α·v⁺   (heavy ball)   or   φ⁺ = φ − α·(g + μ·v⁺)   (Nesterov)

    Each setting is a number, a schedule k ↦ number, or `Learned(value, per=…)`.
    Cost: elementwise; one state copy, two with momentum. Source: Finn et al. 2017; Li et al. 2017 for learned rates.

    Args:
        lr: α, inner learning rate.
        momentum: μ; 0 for none.
        nesterov: look ahead along the momentum.
        weight_decay: λ.

    Raises:
        ValueError: `lr` is not positive, `momentum` is not in [0, 1), `weight_decay` is negative, or `nesterov`
            without momentum.

    Example:
        >>> import torch
        >>> state, gradient = {"adapted": {"w": torch.tensor([1.0])}}, {"w": torch.tensor([2.0])}
        >>> SGD(lr=0.1).step(state, gradient, meta={}, k=0)
        {'adapted': {'w': tensor([0.8000])}}
        >>> halving = SGD(lr=lambda k: 0.1 / 2**k)  # a schedule
        >>> halving.step(state, gradient, meta={}, k=1)
        {'adapted': {'w': tensor([0.9000])}}
    """

    lr: Setting = 0.01
    momentum: Setting = 0.0
    nesterov: bool = False
    weight_decay: Setting = 0.0

    def __post_init__(self) -> None:
        check("lr", self.lr, above=0)
        check("momentum", self.momentum, least=0, below=1)
        check("weight_decay", self.weight_decay, least=0)
        if self.nesterov and self.is_zero("momentum"):
            raise ValueError("nesterov=True needs a momentum above 0, got momentum=0")

    def initial_state(self, adapted: Tree) -> State:
        """The adapted parameters, at rest where there is momentum."""
        return {"adapted": adapted} if self.is_zero("momentum") else {"adapted": adapted, "velocity": zeros(adapted)}

    def step(self, state: State, gradient: Tree, meta: Tree, k: int) -> State:
        """One step of the velocity, then of the parameters."""
        adapted = state["adapted"]
        slope = decayed(self, gradient, adapted, meta, k)
        rate = self.numbers("lr", adapted, meta, k)
        if self.is_zero("momentum"):
            return {"adapted": _descended(adapted, rate, slope)}
        weight = self.numbers("momentum", adapted, meta, k)
        velocity = tree.map(lambda v, g, w: w * v + g, state["velocity"], slope, weight)
        move = tree.map(lambda v, g, w: g + w * v, velocity, slope, weight) if self.nesterov else velocity
        return {"adapted": _descended(adapted, rate, move), "velocity": velocity}

    def pull(self, cotangent: State, meta: Tree, k: int, at: At) -> tuple[Tree, Tree, Tree]:
        """The transpose of `step`; without momentum and learned settings (u − αλu, −αu), whatever the state."""
        # What inherits from this class may step otherwise.
        if type(self).step is not SGD.step or not self.is_zero("momentum") or tree.leaves(meta):
            return super().pull(cotangent, meta, k, at)
        above = cotangent["adapted"]
        on_gradient = tree.map(lambda u, a: -a * u, above, self.numbers("lr", above, meta, k))
        if self.is_zero("weight_decay"):
            return {"adapted": above}, on_gradient, {}
        weight = self.numbers("weight_decay", above, meta, k)
        return {"adapted": tree.map(lambda u, v, w: u + w * v, above, on_gradient, weight)}, on_gradient, {}


def _descended(adapted: Tree, rate: Tree, move: Tree) -> Tree:
    def descended(p: Tensor, a: Tensor, m: Tensor) -> Tensor:
        return p - a * m

    return tree.map(descended, adapted, rate, move)
