"""What an estimator sees, and what it gives back.

The inner loop, run once, is a chain of K links: s⁺ = rule(s, g, m) with g = ∇_φ ℓ(φ(s), m). Going back, a cotangent
u on s⁺ splits into a *direct* part, through the rule with the gradient held fixed, (u_s, u_g, u_m), and a *curvature*
part, through the gradient: (H·u_g lifted into the state, the mixed term (∂²ℓ/∂m∂φ)ᵀ·u_g). The exact pullback of a link
is u ↦ u_s + lift(H·u_g), and the meta-gradient collects every u_m and every mixed term on the way.

Conventions: a state is a dict whose branch "adapted" holds φ (a rule may keep more, such as a velocity); a name
absent from a cotangent stands for zero; `lift` puts a gradient-shaped tree under "adapted".
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor

from metagrad import tree
from metagrad.estimators.family import Family
from metagrad.tree import Tree


class Pulled(NamedTuple):
    """A cotangent after the direct map of one link: on the state, on the gradient, on the meta-parameters."""

    state: Tree
    gradient: Tree
    meta: Tree


@dataclass(frozen=True)
class Adjoint:
    """A cotangent pulled back through a whole chain.

    Attributes:
        start: cotangent on the state before the first link.
        meta: what the links themselves contribute to the meta-parameters.
        diagnostics: 0-d tensors that describe the pull, such as a solver's relative residual.
    """

    start: Tree
    meta: Tree
    diagnostics: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


class Estimate(NamedTuple):
    """A meta-gradient of one task: a tree that mentions the meta-parameters it reaches, and diagnostics."""

    gradient: Tree
    diagnostics: dict[str, Tensor]


class Cost(NamedTuple):
    """What an estimator spends on one task beyond the inner loop and the outer gradient.

    Attributes:
        products: curvature products (Hessian-vector product and mixed term together).
        rounds: how many of them must wait for one another.
        solves: further runs of the inner loop.
    """

    products: int
    rounds: int
    solves: int = 0

    def plus(self, other: "Cost") -> "Cost":
        """The cost of doing both, one after the other."""
        return Cost(self.products + other.products, self.rounds + other.rounds, self.solves + other.solves)


class Chain(Protocol):
    """K linearised inner steps, link 0 first. Stacked trees have a leading axis of one entry per link."""

    def __len__(self) -> int:
        """The number of links K."""
        ...

    def window(self, start: int, stop: int) -> "Chain":
        """The links `start` to `stop - 1` as a chain."""
        ...

    def beyond(self) -> "Chain":
        """The one-link chain of the step that would come next, linearised at the last state."""
        ...

    def direct(self, k: int, cotangent: Tree) -> Pulled:
        """Pull a state cotangent through the rule of link k; no model call."""
        ...

    def curvature(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        """One curvature product at link k: (lift(H·direction), mixed term)."""
        ...

    def curvature_everywhere(self, directions: Tree) -> tuple[Tree, Tree]:
        """One product per link, side by side: stacked directions in, stacked results out."""
        ...


class Episode(Protocol):
    """One task after its inner loop: what estimators may ask of it."""

    @property
    def chain(self) -> Chain:
        """The inner loop, linearised along its trajectory."""
        ...

    def outer(self) -> tuple[Tree, Tree]:
        """Gradient of the query loss: (cotangent on the last state, part that reaches the meta-parameters)."""
        ...

    def from_start(self, cotangent: Tree) -> Tree:
        """Pull a cotangent on the first state back to the meta-parameters."""
        ...

    def displacement(self) -> Tree:
        """First state minus last state."""
        ...

    def nudged(self, nudge: float) -> Tree:
        """∂/∂m of support loss + nudge·query loss, where the inner loop on that sum ends."""
        ...


class Estimator(ABC):
    """A way to estimate the meta-gradient of one task."""

    families: ClassVar[tuple[Family, ...]] = ()
    """What is said of the class wherever estimators are listed, drawn or chosen; see `metagrad.estimators.families`."""

    walks: ClassVar[bool] = True
    """Whether `estimate` asks for links of the chain. Where it does not, the loop keeps nothing of its path, whatever
    its trajectory; links could still be had, each computed anew from the start."""

    @abstractmethod
    def estimate(self, episode: Episode) -> Estimate:
        """The meta-gradient of one task, all meta-parameters together."""

    def single_products(self, num_steps: int) -> int:
        """How many of the last links are asked for one product each, on its own: their graphs are worth keeping."""
        return 0

    @abstractmethod
    def cost(self, num_steps: int) -> Cost:
        """What `estimate` spends on an inner loop of `num_steps` steps."""


class Pullback(Estimator):
    """An estimator that pulls the outer gradient back through the chain, and so sees nothing but the chain."""

    @abstractmethod
    def pull(self, chain: Chain, cotangent: Tree) -> Adjoint:
        """Pull a cotangent on the last state back through all links."""

    def estimate(self, episode: Episode) -> Estimate:
        """Outer gradient, pulled through the chain, then through the start."""
        cotangent, direct = episode.outer()
        adjoint = self.pull(episode.chain, cotangent)
        through_links = tree.add(direct, adjoint.meta)
        return Estimate(tree.add(through_links, episode.from_start(adjoint.start)), adjoint.diagnostics)
