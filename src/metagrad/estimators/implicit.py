"""Implicit differentiation of a solved inner problem: iMAML and its relatives."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from metagrad import checks, tree
from metagrad.estimators.base import Chain, Cost, Episode, Estimate, Estimator
from metagrad.estimators.family import Family
from metagrad.tree import Tree


class Solution(NamedTuple):
    """Mixed term of a solved linear system, and ‖remaining right-hand side‖ / ‖right-hand side‖ (0-d)."""

    meta: Tree
    residual: Tensor


@runtime_checkable
class Solver(Protocol):
    """Solves the linear system of the implicit function theorem on a one-link chain."""

    @property
    def iterations(self) -> int:
        """Curvature products spent, besides one for the mixed term and the residual."""
        ...

    def solve(self, link: Chain, cotangent: Tree) -> Solution:
        """Mixed term of the direction d with H·d = −cotangent."""
        ...


@dataclass(frozen=True)
class ConjugateGradient:
    """Conjugate gradient on H·d = −u, from d = 0, for a fixed number of iterations.

    A direction of negative curvature (H not positive definite) stops the iteration where it is; the residual shows it.
    Against the textbook: fixed length (no data-dependent stop, so it runs under vmap), and the residual that is
    reported is recomputed from the final product, not from the recursion.

    Args:
        iterations: n, at least 1; n products.
        damping: ρ ≥ 0, solves (H + ρI)·d = −u in its place.

    Raises:
        ValueError: `iterations` below 1 or `damping` negative.

    Example:
        >>> Implicit(ConjugateGradient(iterations=5)).cost(num_steps=16)
        Cost(products=6, rounds=6, solves=0)
    """

    iterations: int = 5
    damping: float = 0.0

    def __post_init__(self) -> None:
        checks.integer("iterations", self.iterations, least=1)
        checks.number("damping", self.damping, least=0)

    def solve(self, link: Chain, cotangent: Tree) -> Solution:
        """Iterate, then one product at the solution for the mixed term and the true residual."""
        target = tree.scale(_adapted(cotangent), -1.0)
        solution = tree.conjugate_gradient(
            lambda direction: self._operator(link, direction)[0], target, {}, self.iterations
        )
        product, mixed = self._operator(link, solution)
        return Solution(mixed, _relative(tree.subtract(target, product), target))

    def _operator(self, link: Chain, direction: Tree) -> tuple[Tree, Tree]:
        curved, mixed = link.curvature(0, direction)
        return tree.add(_adapted(curved), tree.scale(direction, self.damping)), mixed


@dataclass(frozen=True)
class Neumann:
    """w = Σ_{i ≤ n} (Jᵀ)ⁱ u with J the Jacobian of one more inner step; then d is what w puts on the gradient.

    Converges when the inner step contracts at the solution (α·λmax < 2 for SGD), at the speed of the inner loop itself.
    With momentum it inherits the momentum. Source: Lorraine et al. 2020.

    Args:
        iterations: n, at least 0; n products.

    Raises:
        ValueError: `iterations` is negative.

    Example:
        >>> Implicit(Neumann(iterations=0)).cost(num_steps=16)
        Cost(products=1, rounds=1, solves=0)
    """

    iterations: int = 5

    def __post_init__(self) -> None:
        checks.integer("iterations", self.iterations, least=0)

    def solve(self, link: Chain, cotangent: Tree) -> Solution:
        """Iterate, then one product at the solution for the mixed term and the residual."""
        total = cotangent
        for _ in range(self.iterations):
            total = tree.add(cotangent, self._transposed_step(link, total)[0])
        stepped, mixed = self._transposed_step(link, total)
        return Solution(mixed, _relative(tree.add(cotangent, tree.subtract(stepped, total)), cotangent))

    def _transposed_step(self, link: Chain, cotangent: Tree) -> tuple[Tree, Tree]:
        pulled = link.direct(0, cotangent)
        curved, mixed = link.curvature(0, pulled.gradient)
        return tree.add(pulled.state, curved), mixed


@dataclass(frozen=True)
class Implicit(Estimator):
    """The meta-gradient at the solution of the inner problem, whatever path led there.

        ∇_φ ℓ(φ*, m) = 0   ⇒   gradient = ∂q/∂m − (∂²ℓ/∂m∂φ)ᵀ H⁻¹ ∇_φ q,   H = ∇²_φ ℓ at the last state

    With ℓ = support loss + (λ/2)‖φ − θ‖² this is (I + ∇²(support loss)/λ)⁻¹ ∇q. The relative residual of the linear
    system is reported in the diagnostics as "residual".

    Cost: n + 1 products in n + 1 rounds for a solver of n iterations, whatever K. When it is wrong: in proportion to
    how far the inner loop is from the solution, and to the residual; H must be positive definite.
    Needs an inner loss that depends on the start: a proximal term.
    Source: Rajeswaran et al. 2019 (iMAML).

    Raises:
        ValueError: in use, when nothing in the inner loss depends on the meta-parameters.

    Example:
        >>> Implicit(Neumann(iterations=3)).cost(num_steps=16)  # the solver's products, and one for the mixed term
        Cost(products=4, rounds=4, solves=0)
    """

    walks: ClassVar[bool] = False
    solver: Solver = field(default_factory=ConjugateGradient)

    def __post_init__(self) -> None:
        if not isinstance(self.solver, Solver):
            raise TypeError(f"solver must be ConjugateGradient(...) or Neumann(...), got {self.solver!r}")

    def estimate(self, episode: Episode) -> Estimate:
        """Solve at the last state; nothing passes through the links before it, nor to the start."""
        cotangent, direct = episode.outer()
        solution = self.solver.solve(episode.chain.beyond(), cotangent)
        if not tree.leaves(solution.meta):
            raise ValueError(
                "Implicit found no dependence of the inner loss on the meta-parameters; wrap the learner in "
                "Proximal(learner, strength=...) or pass proximal=... to MetaLearner (--proximal at the command line)"
            )
        return Estimate(tree.add(direct, solution.meta), {"residual": solution.residual})

    def cost(self, num_steps: int) -> Cost:
        """The solver's products and one more."""
        return Cost(products=self.solver.iterations + 1, rounds=self.solver.iterations + 1)


def _adapted(state: Tree) -> Tree:
    if not isinstance(state, dict):
        raise TypeError('a state is a dict whose branch "adapted" holds the adapted parameters')
    return state["adapted"]


def _relative(difference: Tree, reference: Tree) -> Tensor:
    return tree.quotient(tree.norm(difference), tree.norm(reference))


Implicit.families = (
    Family(
        name="Implicit",
        usual=Implicit(),
        call="Implicit(solver=…)",
        aliases=("iMAML",),
        keeps="the gradient at the *solution* of the inner problem: iMAML, by a solver of n iterations",
        products="n + 1",
        rounds="n + 1",
        take="the inner loop is long, proximal, and ends near its solution",
        wrong="inner problem unsolved, or solver stopped early (the residual is reported)",
        color="#CC79A7",
        marker="P",
        estimates="solution",
        needs=("proximal",),
    ),
)
