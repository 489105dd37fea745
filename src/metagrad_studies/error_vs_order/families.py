"""The estimators of error-vs-order and error-grid, by family and order."""

from collections.abc import Mapping
from typing import cast

from metagrad.estimators import FirstOrder, families
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


def by_order(num_steps: int, *of: str) -> dict[tuple[str, int], Pullback]:
    """FirstOrder as order 0, and orders 1 … K − 1 of each family, by (family, order)."""
    named = {family.name: family for family in families.families()}
    ordered = {
        (family, order): cast(Pullback, named[FAMILIES.get(family, family)].member(order))
        for family in of
        for order in range(1, num_steps)
    }
    return {("FirstOrder", 0): FirstOrder(), **ordered}
