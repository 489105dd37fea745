"""The figure of `metagrad compare`: how accurate each estimator is for what it costs, and which none beats."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad.estimators import Exact, families
from metagrad.experiments.axes import grid
from metagrad.experiments.compare import Row
from metagrad.experiments.config import Experiment
from metagrad.experiments.expression import ESTIMATORS, parse, titled
from metagrad.experiments.recommendation import frontier

EXACT, EXACT_COLOR = repr(Exact()), families.family(Exact()).color


def comparison(config: Experiment, rows: Sequence[Row]) -> Figure:
    """Error against products, sequential rounds, time and memory; Exact is a line, since its error is 0.

    A grey line joins the estimators that none beats in error without costing more (`frontier`). Reptile is left out:
    its direction is no gradient, so that its relative error has no meaning.
    """
    figure = Figure(figsize=(11.5, 8.8), layout="constrained")
    costs: list[tuple[str, Callable[[Row], float]]] = [
        ("curvature products of one task", lambda row: row.products),
        ("rounds: products that wait for one another", lambda row: row.rounds),
        ("time of one meta-gradient (ms)", lambda row: 1e3 * row.seconds),
        ("memory of one meta-gradient (MiB)", lambda row: row.peak_bytes / 2**20),
    ]
    panels: Sequence[Axes] = list(figure.subplots(2, 2, sharey=True).flat)
    for axes, (label, cost) in zip(panels, costs, strict=True):
        _frontier(axes, frontier(config, rows, cost), cost)
        _panel(axes, rows, cost)
        axes.set_xlabel(label)
    for axes in panels[::2]:
        axes.set_ylabel("relative error of one task's meta-gradient\n(median and quartiles)")
    panels[0].set_yscale("log")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        f"Which estimator should I use?  K = {config.num_steps}, {titled(config.rule)}, {config.meta_batch} tasks, "
        f"after {config.meta_steps} meta-steps"
    )
    return figure


def _frontier(axes: Axes, best: Sequence[Row], cost: Callable[[Row], float]) -> None:
    """Steps: at each cost, the least error to be had for it."""
    shown = [row for row in best if row.error[1] > 0]
    if not shown:
        return
    costs = [cost(row) for row in shown]
    errors = [row.error[1] for row in shown]
    free = [cost(row) for row in best if row.error[1] == 0]  # where Exact takes over
    axes.step(
        costs + free[:1],
        errors + errors[-1:] * bool(free),
        where="post",
        color="0.75",
        linewidth=6,
        solid_capstyle="round",
        zorder=0,
        label="frontier: least error for the cost",
    )


def _panel(axes: Axes, rows: Sequence[Row], cost: Callable[[Row], float]) -> None:
    drawn = [row for row in rows if row.estimator != EXACT and row.estimates != "direction"]
    shown = [(row, families.family(parse(row.estimator, ESTIMATORS))) for row in drawn]
    for family in {family.name: family for _, family in shown}.values():
        members = [row for row, its in shown if its.name == family.name]
        middle = [row.error[1] for row in members]
        axes.errorbar(
            [cost(row) for row in members],
            middle,
            yerr=[
                [row.error[1] - row.error[0] for row in members],
                [row.error[2] - row.error[1] for row in members],
            ],
            label=family.label,
            color=family.color,
            marker=family.marker,
            markersize=6,
            linewidth=1,
            elinewidth=0.8,
            alpha=0.9,
        )
        for row in members:
            if row.size is not None:
                axes.annotate(
                    str(row.size),
                    (cost(row), row.error[1]),
                    xytext=(5, 3),
                    textcoords="offset points",
                    color=family.color,
                    fontsize=8,
                )
    for row in rows:
        if row.estimator == EXACT:
            axes.axvline(cost(row), color=EXACT_COLOR, linestyle="--", linewidth=1, label="Exact (error 0)")
    grid(axes)
