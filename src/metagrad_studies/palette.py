"""Colours in the figures of studies: one for each family of estimators, the same everywhere."""

from collections.abc import Mapping

from metagrad.estimators import Binomial, families

COLORS: Mapping[str, str] = {family.name: family.color for family in families.families()}
"""By the name of a family, which for most is that of its class."""

VARIANTS: Mapping[str, str] = {
    "plain": COLORS["Binomial"],
    "paper": families.family(Binomial(1, scale="paper")).color,
    "auto": families.family(Binomial(1, center="auto")).color,
}
"""Of `Binomial`, where they are drawn beside one another: as printed, scale "paper", center "auto"."""

SIDES: Mapping[str, str] = {"forward": "#94bd3a", "symmetric": COLORS["FiniteDifference"], "fourth": "#0f5c6b"}
"""Of the schemes of `FiniteDifference`."""

GRAPH = "#b5302a"
"""Of back-propagation through the graph of the whole loop, which the package does not do."""
