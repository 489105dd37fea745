"""What the axes of figures have in common: units of what is measured on query sets, and the grid."""

from matplotlib.axes import Axes

from metagrad.experiments.config import Experiment
from metagrad.experiments.problems import SinusoidRegression


def unit(config: Experiment, name: str) -> tuple[float, str]:
    """What to multiply "accuracy" or "loss" by, and the label of its axis."""
    regression = isinstance(config.problem, SinusoidRegression)
    return {
        "accuracy": (100.0, "query accuracy (%)"),
        "loss": (1.0, "query mean squared error" if regression else "query cross-entropy (nats)"),
    }[name]


def grid(axes: Axes) -> None:
    """Pale lines at the major ticks, behind everything."""
    axes.set_axisbelow(True)
    axes.grid(visible=True, which="major", color="0.92")
