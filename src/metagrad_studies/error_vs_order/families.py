"""The estimators of error-vs-order and error-grid, by family and order."""

from collections.abc import Mapping

from metagrad.estimators import Binomial, FirstOrder, Grouped, Parallel, Truncated
from metagrad.estimators.base import Pullback

FAMILIES: Mapping[str, str] = {
    "Truncated": "Truncated",
    "Binomial": "Binomial",
    "Binomial-paper": 'Binomial, scale="paper"',
    "Binomial-auto": 'Binomial, center="auto"',
}
"""Words for each line of the figure; every one of them begins at FirstOrder."""

LEARNED = ("Grouped", "Parallel")
"""Families that learn a center as well; their order is the number of groups and of rounds."""


def by_order(num_steps: int, *families: str) -> dict[tuple[str, int], Pullback]:
    """FirstOrder as order 0, and orders 1 … K − 1 of each family, by (family, order)."""
    make = {
        "Truncated": Truncated,
        "Binomial": Binomial,
        "Binomial-paper": lambda order: Binomial(order, scale="paper"),
        "Binomial-auto": lambda order: Binomial(order, center="auto"),
        "Grouped": Grouped,
        "Parallel": Parallel,
    }
    ordered = {(family, order): make[family](order) for family in families for order in range(1, num_steps)}
    return {("FirstOrder", 0): FirstOrder(), **ordered}
