"""What the figures of studies share: a colour for each family of estimators, panels, labels and legends."""

from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad import Binomial
from metagrad.estimators import families

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


def panels(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure of so many inches, and its panels: a sequence of rows."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def label(axes: Axes, x: str = "", y: str = "", title: str = "", log: str = "") -> None:
    """Labels of both axes and a title; `log` names the logarithmic axes: "x", "y" or "xy"."""
    axes.set(xlabel=x or axes.get_xlabel(), ylabel=y or axes.get_ylabel())
    if title:
        axes.set_title(title, fontsize=10)
    axes.set(**{f"{name}scale": "log" for name in log})


def legend(axes: Axes, **options: Any) -> None:
    """A small legend inside a panel."""
    axes.legend(frameon=False, fontsize=8, **options)


def legend_below(figure: Figure, axes: Axes, columns: int, **options: Any) -> None:
    """One legend for all panels, with what one of them shows."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, **options)


def share_height(row: Iterable[Axes]) -> None:
    """The same range of values in all panels of a row."""
    low, high = zip(*(axes.get_ylim() for axes in row), strict=True)
    for axes in row:
        axes.set_ylim(min(low), max(high))


def order_axis(axes: Axes, num_steps: int) -> None:
    """Orders 0 … K − 1 below a panel; order 0 of every family is FirstOrder."""
    axes.set_xticks(range(num_steps), ["0\nFirstOrder", *map(str, range(1, num_steps))])
    axes.set_xlabel("order or window L")
