"""Implicit differentiation of an inner loop that has no proximal term, as if it had one."""

from dataclasses import dataclass

from metagrad import checks, tree
from metagrad.estimators import Cost, Episode, Estimate, Estimator
from metagrad.tree import Tree


@dataclass(frozen=True)
class UnanchoredImplicit(Estimator):
    """iMAML's formula where nothing holds the inner loop to its start: for comparison with published numbers only.

        gradient = (I + H/λ)⁻¹ ∇_φ q,   H = ∇²_φ of the support loss at the last state

    by `iterations` of conjugate gradient from ∇_φ q on. The inner loop is the plain one, so its last state is not the
    solution that the formula is about: use `Implicit` with a proximal term. For large λ this is `FirstOrder`.
    Cost: n + 1 products in n + 1 rounds. When it is wrong: always. Source: code of the binomial paper.

    Raises:
        ValueError: an argument out of range.
    """

    iterations: int = 5  # n, at least 1
    strength: float = 100.0  # λ, positive

    def __post_init__(self) -> None:
        checks.integer("iterations", self.iterations, least=1)
        checks.number("strength", self.strength, above=0)

    def estimate(self, episode: Episode) -> Estimate:
        """Solve at the last state; what is found is handed to the start."""
        cotangent, direct = episode.outer()
        link = episode.chain.beyond()
        target = _adapted(cotangent)

        def operator(direction: Tree) -> Tree:
            curved, _ = link.curvature(0, direction)
            return tree.add(direction, tree.scale(_adapted(curved), 1 / self.strength))

        solution = tree.conjugate_gradient(operator, target, target, self.iterations)
        return Estimate(tree.add(direct, episode.from_start({"adapted": solution})), {})

    def cost(self, num_steps: int) -> Cost:
        """One product for the first residual, and one an iteration."""
        return Cost(products=self.iterations + 1, rounds=self.iterations + 1)


def _adapted(state: Tree) -> Tree:
    if not isinstance(state, dict):
        raise TypeError('a state is a dict whose branch "adapted" holds the adapted parameters')
    return state["adapted"]
