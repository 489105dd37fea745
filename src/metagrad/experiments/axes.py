"""What the axes of figures have in common: units of what is measured on query sets, and the grid."""

from matplotlib.axes import Axes

from metagrad.experiments.config import Experiment


def unit(config: Experiment, name: str) -> tuple[float, str]:
    """What to multiply "accuracy", "loss" or another metric by, and the label of its axis."""
    if name == "accuracy":
        return 100.0, "query accuracy (%)"
    return 1.0, getattr(config.problem, "loss_label", "query loss") if name == "loss" else f"query {name}"


def grid(axes: Axes) -> None:
    """Pale lines at the major ticks, behind everything."""
    axes.set_axisbelow(True)
    axes.grid(visible=True, which="major", color="0.92")
