"""Reptile: move the start towards where adaptation ended."""

from dataclasses import dataclass
from typing import ClassVar

from metagrad.estimators.base import Cost, Episode, Estimate, Estimator
from metagrad.estimators.family import Family


@dataclass(frozen=True)
class Reptile(Estimator):
    """θ − φ_K, as a pseudo-gradient: an outer step of SGD with rate ε moves θ by ε·(φ_K − θ).

    The query set is only measured, never learned from; give Reptile's support set all examples if you want its
    published protocol. Cost: nothing beyond the inner loop.
    When it is wrong: always as a gradient of the query loss; it has the units of parameters, so its outer rate does
    not carry over from other estimators. It reaches what is adapted and nothing else (no learned rates, no body).
    Source: Nichol et al. 2018.

    Example:
        >>> Reptile().cost(num_steps=5)
        Cost(products=0, rounds=0, solves=0)
    """

    walks: ClassVar[bool] = False

    def estimate(self, episode: Episode) -> Estimate:
        """First state minus last, pulled back to what the start is made of."""
        return Estimate(episode.from_start(episode.displacement()), {})

    def cost(self, num_steps: int) -> Cost:
        """Nothing beyond the inner loop."""
        return Cost(products=0, rounds=0)


Reptile.families = (
    Family(
        name="Reptile",
        usual=Reptile(),
        keeps="start minus end",
        products="0",
        rounds="0",
        take="you compare with Reptile",
        wrong="always: it is no gradient of the query loss",
        color="#8A6D3B",
        marker="<",
        estimates="direction",
    ),
)
