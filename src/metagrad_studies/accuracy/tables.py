"""Trained methods compared on the same seeds and test tasks: settings, differences, tables and the figure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import float64, tensor

from metagrad.training import Interval
from metagrad_studies.accuracy.methods import Method, named
from metagrad_studies.core import Listing, Records, listing
from metagrad_studies.core.plots import COLORS, label, panels
from metagrad_studies.core.verdicts import Compared, written
from metagrad_studies.instruments.training import pooled, pooled_difference

SEEDS = (10, 11, 12)  # 1 and 2 are those of the validation and test tasks

AS_PUBLISHED: Mapping[str, Any] = {"seeds": SEEDS[:1], "spread": "standard error"}
"""Fields of the settings: the paper's code has one seed, and the paper prints standard errors over tasks."""


@dataclass(frozen=True)
class DataSet:
    """Tasks, with all that the methods share on them."""

    title: str  # for tables
    key: str  # for names of directories
    config: Mapping[str, Any]  # the experiment, as `Experiment.to_json` gives it; a method and a seed replace theirs


@dataclass(frozen=True, kw_only=True)
class AccuracySettings:
    """What is trained, on what, how often.

    `spread` stands behind ±: our 95 % intervals over seeds and tasks, or the standard errors over tasks of the paper.
    """

    data_sets: tuple[DataSet, ...]
    methods: tuple[Method, ...]  # the rows; the one named MAML is what the others are compared with
    seeds: tuple[int, ...] = SEEDS  # of weights and training tasks; every method gets each
    spread: Literal["95 % interval", "standard error"] = "95 % interval"
    not_found: tuple[str, ...]  # data sets of this size that the directory of data does not have

    @property
    def maml(self) -> Method:
        return named(self.methods, "MAML")[0]

    @property
    def seeds_in_words(self) -> str:
        return "1 seed" if len(self.seeds) == 1 else f"{len(self.seeds)} seeds"


def of(records: Records, data: DataSet, method: Method) -> Records:
    """The records of one method on one data set, one a seed."""
    return records.where(data_set=data.title, method=method.name, order=method.order)


def accuracy(settings: AccuracySettings, records: Records) -> Interval:
    """Mean accuracy of one method, with the spread that the settings name."""
    if settings.spread == "95 % interval":
        return pooled(records, "accuracy")
    means = tensor(records.column("accuracy_tasks"), dtype=float64).mean(0)
    return Interval(means.mean().item(), means.std(correction=0).item() / math.sqrt(len(means)))


def compared(records: Records, data: DataSet, first: Method, second: Method) -> Compared:
    """First minus second, paired by seed and task, with its 95 % interval."""
    by = pooled_difference(of(records, data, first), of(records, data, second), "accuracy")
    return Compared(f"{first.label} minus {second.label}, {data.title}", by)


def ranks(settings: AccuracySettings, records: Records, data: DataSet) -> dict[Method, int]:
    """1 for the method of the highest mean accuracy."""
    means = {method: pooled(of(records, data, method), "accuracy").mean for method in settings.methods}
    return {method: 1 + sum(other > mean for other in means.values()) for method, mean in means.items()}


def accuracies(settings: AccuracySettings, records: Records) -> Listing:
    """A row a method: accuracy, distance to MAML and rank on each data set."""
    ranked = [ranks(settings, records, data) for data in settings.data_sets]
    rows: list[list[object]] = []
    for method in settings.methods:
        cells: list[object] = [method.order, method.name]
        for data, place in zip(settings.data_sets, ranked, strict=True):
            distance = written(compared(records, data, method, settings.maml).by, signed=True)
            cells.append(written(accuracy(settings, of(records, data, method))))
            cells += ["" if method == settings.maml else distance, place[method]]
        rows.append(cells)
    columns = [column for data in settings.data_sets for column in (f"{data.title} (%)", "minus MAML (points)", "rank")]
    spread = "95 % intervals" if settings.spread == "95 % interval" else "standard errors"
    tasks = ", ".join(dict.fromkeys(str(data.config["test"]["tasks"]) for data in settings.data_sets))
    title = (
        f"Test accuracy ± {spread}, {settings.seeds_in_words}, {tasks} test tasks, the same for all; differences to "
        "MAML are paired by seed and task, ± 95 % intervals"
    )
    return listing(title, ("L", "method", *columns), rows)


def runs(settings: AccuracySettings, records: Records) -> Listing:
    """A row a method: the step of the best weights, time, runs that diverged."""
    rows: list[list[object]] = []
    for method in settings.methods:
        cells: list[object] = [method.order, method.name]
        for data in settings.data_sets:
            trained = of(records, data, method)
            times = [seconds for seconds in trained.column("seconds_per_meta_step") if seconds is not None]
            cells.append(", ".join(map(str, trained.column("best_step"))))
            cells += [f"{1e3 * sum(times) / len(times):.0f}" if times else "", sum(trained.column("diverged"))]
        rows.append(cells)
    names = ("best at step", "ms a meta-step", "diverged")
    columns = [f"{data.title}: {name}" if name == names[0] else name for data in settings.data_sets for name in names]
    return listing("Runs, seed by seed", ("L", "method", *columns), rows)


def distances(settings: AccuracySettings, records: Records) -> Figure:
    """A panel a data set, a line a method: accuracy minus MAML's, with 95 % intervals; rows of ours are hollow."""
    count = len(settings.data_sets)
    figure, rows = panels(1, count, 2.4 + 3.8 * count, 1.3 + 0.3 * len(settings.methods))
    draw_distances(rows[0], settings, records)
    return figure


def draw_distances(row: Sequence[Axes], settings: AccuracySettings, records: Records) -> None:
    """As `distances`, on axes that are there; the first of them names the methods."""
    others = [method for method in settings.methods if method != settings.maml]
    for axes, data in zip(row, settings.data_sets, strict=True):
        axes.axvline(0, color="0.8", linewidth=1)
        for line, method in enumerate(others):
            by, color = compared(records, data, method, settings.maml).by, COLORS.get(method.family, "0.7")
            axes.errorbar(
                100 * by.mean,
                line,
                xerr=100 * by.half_width,
                color=color,
                marker="o",
                markerfacecolor="white" if method.ours else color,
                markersize=5,
                capsize=3,
                linewidth=1.3,
            )
        reached = pooled(of(records, data, settings.maml), "accuracy")
        label(axes, "accuracy minus MAML's (percentage points)", title=f"{data.title}\nMAML {written(reached, 1)} %")
        axes.set_yticks(range(len(others)), [method.label for method in others])
        axes.tick_params(labelleft=axes is row[0])  # panels may share their ticks: no others can be set on one
        axes.set_ylim(len(others) - 0.5, -0.5)
