"""The inner loop in consecutive groups of steps, one round each: fewer rounds than `Exact`, at its products."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from metagrad import checks, tree
from metagrad.estimators.base import Adjoint, Chain, Cost, Pullback
from metagrad.estimators.binomial import Binomial
from metagrad.estimators.family import Family
from metagrad.tree import Tree


@dataclass(frozen=True)
class Grouped(Pullback):
    """Groups of nearly equal size, one after the other from the last, and one round of products in each.

        λ before a group = Binomial(1, center="auto") of its links, pulled on the λ behind it

    Sizes differ by one at most, the smaller groups last in the loop: of all ways to cut the sinusoid's ten steps, these
    are among the best before and in training. A group of one link is exact, so K groups are `Exact`; one group is
    `Binomial(1, center="auto")`. Equal to nested `Split`.

    Diagnostics, if there was a group: "error_estimate", ∏ (1 + that of a group) − 1.

    Cost: K products, as many as `Exact`, in as many rounds as there are groups.
    Memory: one group's products at a time.
    When it is wrong: where groups are long and steps are large. More groups help then, and so does `Parallel`, for more
    products. It is not linear in the outer gradient, only homogeneous.
    Source: ours.

    Args:
        groups: how many, at least 1; more than the loop has steps are one for each step.

    Raises:
        TypeError: `groups` is no integer.
        ValueError: it is below 1.

    Example:
        >>> Grouped(groups=2).cost(num_steps=5)  # the products of Exact, in two rounds
        Cost(products=5, rounds=2, solves=0)
    """

    groups: int

    def __post_init__(self) -> None:
        checks.integer("groups", self.groups, least=1)

    def pull(self, chain: Chain, cotangent: Tree) -> Adjoint:
        """Pull a cotangent back group by group."""
        one_round = Binomial(order=1, center="auto")
        start: Tree = cotangent
        meta: Tree = {}
        right = torch.ones_like(tree.norm(cotangent))
        for low, high in self._bounds(len(chain)):
            adjoint = one_round.pull(chain.window(low, high), start)
            start, meta = adjoint.start, tree.add(meta, adjoint.meta)
            right = right * (1.0 + adjoint.diagnostics["error_estimate"])
        return Adjoint(start, meta, {"error_estimate": right - 1.0} if len(chain) else {})

    def cost(self, num_steps: int) -> Cost:
        """K products in as many rounds as there are groups."""
        return Cost(products=num_steps, rounds=min(self.groups, num_steps))

    def _bounds(self, steps: int) -> Iterator[tuple[int, int]]:
        """First link of each group and that behind its last, from the end of the loop."""
        groups = min(self.groups, steps)
        high = steps
        for group in range(groups):
            low = high - (steps + group) // groups
            yield low, high
            high = low


Grouped.families = (
    Family(
        name="Grouped",
        usual=Grouped(groups=3),
        call="Grouped(groups=n)",
        keeps="the steps in n groups, one round each, about a learned center",
        products="K",
        rounds="n",
        take="you want fewer rounds at the products of `Exact()`",
        wrong="where groups are long and steps large",
        color="#999933",
        marker="h",
        size="groups",
        whole=True,
        # One group is Binomial(1, center="auto").
        members=lambda num_steps: [Grouped(groups) for groups in range(2, num_steps)],
        remedy="more groups, Parallel(rounds=3)",
    ),
)
