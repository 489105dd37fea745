"""FO-B-MAML: the meta-gradient as the derivative of a perturbed solution, by finite differences."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from metagrad import checks, tree
from metagrad.estimators.base import Cost, Episode, Estimate, Estimator
from metagrad.estimators.family import Family
from metagrad.tree import Tree

# Points (in units of the nudge) and weights of each scheme; the error is of the order of the nudge to the 1, 2 and 4.
STENCILS: dict[str, dict[int, float]] = {
    "forward": {1: 1.0, 0: -1.0},
    "symmetric": {1: 1 / 2, -1: -1 / 2},
    "fourth": {1: 2 / 3, -1: -2 / 3, 2: -1 / 12, -2: 1 / 12},
}


@dataclass(frozen=True)
class FiniteDifference(Estimator):
    """Solve nudged inner problems, difference their sensitivity to the meta-parameters.

        φ_ν = argmin_φ ℓ(φ, m) + ν·q(φ, m),   G(ν) = ∂/∂m [ℓ + ν·q](φ_ν, m),   estimate = Σ_j w_j G(jν)/ν → dG/dν(0)

    With ℓ = support loss + (λ/2)‖φ − θ‖² this is λ(φ_{−ν} − φ_ν)/(2ν) in the symmetric scheme. All solves start alike
    and take the same number of steps, so that what they leave unsolved cancels. First derivatives only.

    Cost: 1, 2 or 4 further inner loops ("forward", "symmetric", "fourth"), no curvature product. Memory: that of one
    inner step, whatever the number of steps.
    When it is wrong: bias of order ν, ν² or ν⁴, plus solver precision δ over ν, so that ν ~ δ^{1/2}, δ^{1/3}, δ^{1/5}
    are best. Too short, though in the right direction, when the inner problem is not solved.
    Needs an inner loss that depends on the start: a proximal term.
    Source: Chayti and Jaggi, "A New First-Order Meta-Learning Algorithm with Convergence Guarantees" (FO-B-MAML).

    Args:
        nudge: ν, greater than 0, in units of support loss per query loss.
        sides: "forward", "symmetric" or "fourth".

    Raises:
        ValueError: `nudge` is not positive, `sides` is unknown, or (in use) nothing in the inner loss depends on the
            meta-parameters.

    Example:
        >>> FiniteDifference(sides="symmetric").cost(num_steps=5)  # two more inner loops, no second derivative
        Cost(products=0, rounds=0, solves=2)
    """

    walks: ClassVar[bool] = False
    nudge: float = 0.01
    sides: Literal["forward", "symmetric", "fourth"] = "symmetric"

    def __post_init__(self) -> None:
        checks.number("nudge", self.nudge, above=0)
        if self.sides not in STENCILS:
            raise ValueError(f"sides must be one of {', '.join(map(repr, STENCILS))}, got {self.sides!r}")

    def estimate(self, episode: Episode) -> Estimate:
        """Weighted sum of the nudged sensitivities."""
        total: Tree = {}
        for point, weight in STENCILS[self.sides].items():
            sensitivity = episode.nudged(point * self.nudge)
            if not tree.leaves(sensitivity):
                raise ValueError(
                    "FiniteDifference found no dependence of the inner loss on the meta-parameters; wrap the "
                    "learner in Proximal(learner, strength=...), or pass proximal=... to MetaLearner "
                    "(at the command line --proximal)"
                )
            total = tree.add(total, tree.scale(sensitivity, weight / self.nudge))
        return Estimate(total, {})

    def cost(self, num_steps: int) -> Cost:
        """One inner loop for each point other than 0, which the episode has run already."""
        return Cost(products=0, rounds=0, solves=sum(point != 0 for point in STENCILS[self.sides]))


FiniteDifference.families = (
    Family(
        name="FiniteDifference",
        usual=FiniteDifference(),
        call="FiniteDifference(nudge=ν)",
        aliases=("FO-B-MAML",),
        keeps="the gradient at the solution, by solving nudged problems: FO-B-MAML",
        products="0",
        rounds="0",
        solves="1, 2 or 4",
        take="as for `Implicit()`, and second derivatives are out of reach",
        wrong="inner problem unsolved, nudge too large or too small",
        color="#E69F00",
        marker="X",
        estimates="solution",
        needs=("proximal",),
    ),
)
