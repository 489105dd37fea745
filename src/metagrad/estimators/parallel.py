"""All inner steps side by side, in few rounds: each link answers at the best present estimate of its adjoint."""

from dataclasses import dataclass

from metagrad import checks
from metagrad.estimators.base import Adjoint, Chain, Cost, Pullback
from metagrad.estimators.family import Family
from metagrad.estimators.learned_center import pull_about_learned_center
from metagrad.tree import Tree


@dataclass(frozen=True)
class Parallel(Pullback):
    """The adjoints of all links at once, solved for in `rounds` rounds of products done side by side.

        λ_k = D λ_{k+1} + C λ_{k+1},    round r:  every link below K − r + 1 gets C at the present estimate of λ_{k+1}

    The adjoints of a chain solve a linear system, one block for each link. `Exact` solves it from the last link to the
    first, with K products that wait for one another. Here each round takes a product at every link, at the best adjoint
    known. The products improve models of the links' curvature, those of `Binomial(center="auto")`, and all adjoints are
    pulled through the models again: a quasi-Newton method that is parallel in time. In each round one more link's
    direction becomes final and needs no further product, so K rounds are exact. One round is
    `Binomial(1, center="auto")`.

    Diagnostics, if there was a round: "error_estimate", an estimate of the relative error on the state before the first
    step. It needs no further product.

    Cost: L(2K − L + 1)/2 products in L rounds, L = min(rounds, K): *more* products than `Exact`, and than `Binomial` of
    the same number of rounds, for an error that falls faster with each.
    Memory: one round, up to K products at a time (`link_chunk` of the loop bounds it), and up to 2L + 2 further copies
    of the adapted parameters for each of these.
    When it is wrong: it is inaccurate when the Hessian has more than about L large eigenvalues. It is not linear in the
    outer gradient, only homogeneous, and has no bound on its error.
    Source: ours; quasi-Newton iterations over time steps are known for recurrent networks and for ordinary
    differential equations, without learned models (parareal, DEER).

    Args:
        rounds: L, at least 0; 0 is `FirstOrder`.

    Raises:
        TypeError: `rounds` is no integer.
        ValueError: it is negative.

    Example:
        >>> Parallel(rounds=2).cost(num_steps=5)
        Cost(products=9, rounds=2, solves=0)
    """

    rounds: int

    def __post_init__(self) -> None:
        checks.integer("rounds", self.rounds, least=0)

    def pull(self, chain: Chain, cotangent: Tree) -> Adjoint:
        """Pull a cotangent back in L rounds."""
        return pull_about_learned_center(chain, cotangent, [0] * min(self.rounds, len(chain)))

    def cost(self, num_steps: int) -> Cost:
        """K + (K − 1) + … products, L summands, in L rounds."""
        rounds = min(self.rounds, num_steps)
        return Cost(products=sum(num_steps - r for r in range(rounds)), rounds=rounds)


Parallel.families = (
    Family(
        name="Parallel",
        usual=Parallel(rounds=3),
        call="Parallel(rounds=L)",
        keeps="every step asked in every round, at the best present estimate of what reaches it",
        products="L(2K−L+1)/2",
        rounds="L",
        take="products of a round run side by side, and the loop has ten steps or more",
        wrong="inaccurate when the Hessian has more than about L large eigenvalues, as with Conv4 early in training",
        color="#AA4499",
        marker="p",
        size="rounds",
        whole=True,
        # One round is Binomial(1, center="auto").
        members=lambda num_steps: [Parallel(rounds) for rounds in range(2, num_steps)],
        remedy="more rounds",
    ),
)
