"""Colours in the figures of studies: one for each family of estimators, the same everywhere."""

from collections.abc import Mapping

COLORS: Mapping[str, str] = {
    "FirstOrder": "0.45",
    "Truncated": "#d1822f",
    "Binomial": "#2b6ca3",
    "Exact": "#1b1b1b",
    "Implicit": "#a8519b",
    "UnanchoredImplicit": "#a8519b",
    "Reptile": "#8a6d3b",
    "Hybrid": "#2a9d9d",
    "Split": "#2a9d9d",
    "FiniteDifference": "#2e8b57",
}

VARIANTS: Mapping[str, str] = {"plain": COLORS["Binomial"], "paper": "#7fb2d9", "auto": "#882255"}
"""Of `Binomial`, where they are drawn beside one another: as printed, scale "paper", center "auto"."""

SIDES: Mapping[str, str] = {"forward": "#94bd3a", "symmetric": "#2e8b57", "fourth": "#0f5c6b"}
"""Of the schemes of `FiniteDifference`."""

GRAPH = "#b5302a"
"""Of back-propagation through the graph of the whole loop, which the package does not do."""
