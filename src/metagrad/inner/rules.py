"""Update rules of the inner loop: pure, elementwise, and never calling the model.

A state is a dict whose branch "adapted" holds the adapted parameters φ; a rule may keep more beside it.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, cast, runtime_checkable

import torch

from metagrad import checks, tree
from metagrad.tree import Tree

State = dict[str, Tree]


@runtime_checkable
class UpdateRule(Protocol):
    """How one inner step moves the state."""

    def initial_meta(self, adapted: Tree) -> Tree:
        """What the rule itself meta-learns, at its initial values; {} for nothing."""
        ...

    def initial_state(self, adapted: Tree) -> State:
        """The state before the first step."""
        ...

    def step(self, state: State, gradient: Tree, meta: Tree) -> State:
        """The state after one step; `meta` is the rule's own part of the meta-parameters."""
        ...


@dataclass(frozen=True)
class SGD:
    """Gradient descent, φ⁺ = φ − α·g: the inner loop of MAML.

    Raises:
        ValueError: `lr` (α) is not a positive finite number.
    """

    lr: float = 0.01

    def __post_init__(self) -> None:
        checks.number("lr", self.lr, above=0)

    def initial_meta(self, adapted: Tree) -> Tree:
        """Nothing is meta-learned."""
        return {}

    def initial_state(self, adapted: Tree) -> State:
        """The adapted parameters alone."""
        return {"adapted": adapted}

    def step(self, state: State, gradient: Tree, meta: Tree) -> State:
        """One descent step."""
        return {"adapted": tree.map(lambda p, g: p - self.lr * g, state["adapted"], gradient)}

    def pull(self, cotangent: Tree) -> tuple[Tree, Tree]:
        """The transpose of `step`: a cotangent u on the state after it ↦ (u, −α·u) on state and gradient."""
        return {"adapted": cotangent}, tree.scale(cotangent, -self.lr)


@dataclass(frozen=True)
class Momentum:
    """Heavy-ball or Nesterov momentum as in `torch.optim.SGD`, from a velocity of zero.

        v⁺ = μ·v + g,   φ⁺ = φ − α·v⁺   (heavy ball)   or   φ⁺ = φ − α·(g + μ·v⁺)   (Nesterov)

    Raises:
        ValueError: `lr` (α) is not positive, or `momentum` (μ) is not in [0, 1).
    """

    lr: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        checks.number("lr", self.lr, above=0)
        checks.number("momentum", self.momentum, least=0, below=1)

    def initial_meta(self, adapted: Tree) -> Tree:
        """Nothing is meta-learned."""
        return {}

    def initial_state(self, adapted: Tree) -> State:
        """The adapted parameters at rest."""
        return {"adapted": adapted, "velocity": tree.map(torch.zeros_like, adapted)}

    def step(self, state: State, gradient: Tree, meta: Tree) -> State:
        """One step of the velocity, then of the parameters."""
        velocity = tree.map(lambda v, g: self.momentum * v + g, state["velocity"], gradient)
        move = velocity
        if self.nesterov:
            move = tree.map(lambda v, g: g + self.momentum * v, velocity, gradient)
        return {
            "adapted": tree.map(lambda p, m: p - self.lr * m, state["adapted"], move),
            "velocity": velocity,
        }


@dataclass(frozen=True)
class LearnedRates:
    """Meta-SGD, φ⁺ = φ − a ⊙ g with the rates a meta-learned along with the start.

    Rates may become negative: Meta-SGD lets them. Source: Li et al. 2017 (published with one rate per element).

    Args:
        lr: the value that every rate starts from.
        per: one rate in all ("scalar"), one for each parameter tensor ("tensor"), or one for each number ("element").

    Raises:
        ValueError: `lr` is not positive or `per` is unknown.
    """

    lr: float = 0.01
    per: Literal["scalar", "tensor", "element"] = "element"

    def __post_init__(self) -> None:
        checks.number("lr", self.lr, above=0)
        if self.per not in ("scalar", "tensor", "element"):
            raise ValueError(f"per must be 'scalar', 'tensor' or 'element', got {self.per!r}")

    def initial_meta(self, adapted: Tree) -> Tree:
        """Rates of the chosen granularity, all equal to `lr`."""
        if self.per == "scalar":
            return torch.full_like(tree.leaves(adapted)[0].detach().flatten()[:1].squeeze(0), self.lr)
        if self.per == "tensor":
            return tree.map(lambda p: torch.full_like(p.detach().flatten()[:1].squeeze(0), self.lr), adapted)
        return tree.map(lambda p: torch.full_like(p.detach(), self.lr), adapted)

    def initial_state(self, adapted: Tree) -> State:
        """The adapted parameters alone."""
        return {"adapted": adapted}

    def step(self, state: State, gradient: Tree, meta: Tree) -> State:
        """One step at the learned rates."""
        if isinstance(meta, torch.Tensor):
            return {"adapted": tree.map(lambda p, g: p - meta * g, state["adapted"], gradient)}
        return {"adapted": tree.map(lambda p, g, a: p - a * g, state["adapted"], gradient, cast(Tree, meta))}
