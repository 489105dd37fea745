"""Trained methods beside MAML: differences of accuracy with their intervals."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad_studies.accuracy.comparing import compared, of
from metagrad_studies.accuracy.settings import AccuracySettings
from metagrad_studies.accuracy.tables import REFERENCE
from metagrad_studies.core.plots import COLORS
from metagrad_studies.core.records import Records
from metagrad_studies.instruments.training import pooled


def distances(settings: AccuracySettings, records: Records) -> Figure:
    """A panel a data set, a line a method: accuracy minus MAML's, with 95 % intervals; rows of ours are hollow."""
    sets = settings.data_sets
    figure = Figure(figsize=(2.4 + 3.8 * len(sets), 1.3 + 0.3 * len(settings.methods)), layout="constrained")
    draw_distances(figure.subplots(1, len(sets), squeeze=False)[0], settings, records)
    return figure


def draw_distances(panels: Sequence[Axes], settings: AccuracySettings, records: Records) -> None:
    """As `distances`, on axes that are there; the first of them names the methods."""
    reference = next(method for method in settings.methods if method.name == REFERENCE)
    others = [method for method in settings.methods if method != reference]
    for axes, data in zip(panels, settings.data_sets, strict=True):
        axes.axvline(0, color="0.8", linewidth=1)
        for row, method in enumerate(others):
            by, color = compared(records, data, method, reference).by, COLORS[method.family]
            axes.errorbar(
                100 * by.mean,
                row,
                xerr=100 * by.half_width,
                color=color,
                marker="o",
                markerfacecolor="white" if method.ours else color,
                markersize=5,
                capsize=3,
                linewidth=1.3,
            )
        maml = pooled(of(records, data, reference), "accuracy")
        axes.set_title(f"{data.title}\nMAML {100 * maml.mean:.1f} ± {100 * maml.half_width:.1f} %", fontsize=10)
        axes.set_xlabel("accuracy minus MAML's (percentage points)")
        axes.set_yticks(range(len(others)), [method.label for method in others])
        axes.tick_params(labelleft=axes is panels[0])  # panels may share their ticks: no others can be set on one
        axes.set_ylim(len(others) - 0.5, -0.5)
