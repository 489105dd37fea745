"""Figure and tables of error-and-accuracy."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from metagrad.experiments.axes import grid
from metagrad_studies.accuracy.methods import FOMAML, named
from metagrad_studies.accuracy.tables import DataSet, of, runs
from metagrad_studies.core import Listing, Records, Study, listing
from metagrad_studies.core.plots import COLORS, VARIANTS, label, panels
from metagrad_studies.error_and_accuracy.findings import (
    BARS,
    ErrorAccuracySettings,
    contrast,
    pooled_error,
    pooled_score,
    run_error,
    score,
    share,
)

_STYLES: Mapping[str, tuple[str, str]] = {  # colour, marker
    "FOMAML": (COLORS["FirstOrder"], "s"),
    "Truncated": (COLORS["Truncated"], "v"),
    "Binomial plain": (VARIANTS["plain"], "o"),
    "Binomial L/K": (VARIANTS["paper"], "^"),
    "Binomial auto": (VARIANTS["auto"], "*"),
}
_LEGEND_COLUMNS = 3  # under a panel
_MARGIN = 0.12  # of an axis, on both sides
_SHOWN = max(BARS)  # the order whose errors along training are drawn: all orders at once cannot be read


def _results(axes: Axes, settings: ErrorAccuracySettings, records: Records, data: DataSet) -> None:
    """A point a method with both 95 % intervals, small ones its seeds; Exact, whose error is 0, is a line and a band.

    Axes hold every seed, and cut intervals that are wider: those over three seeds would squeeze all else together.
    """
    what, exact = score(data), pooled_score(records, data, settings.maml)
    axes.axhline(exact.mean, color=COLORS["Exact"], linewidth=1.2, label=settings.maml.label)
    axes.axhspan(exact.mean - exact.half_width, exact.mean + exact.half_width, color=COLORS["Exact"], alpha=0.08, lw=0)
    seeds: list[tuple[float, float]] = []
    for name, (color, marker) in _STYLES.items():
        path: list[tuple[float, float]] = []
        for method in named(settings.methods, name):
            value = pooled_score(records, data, method)
            error, low, high = pooled_error(records, data, method)
            axes.errorbar(
                error,
                value.mean,
                xerr=[[error - low], [high - error]],
                yerr=value.half_width,
                color=color,
                marker=marker,
                markersize=9 if marker == "*" else 6,
                elinewidth=1,
                linestyle="none",
                label=name,
            )
            path.append((error, value.mean))
            each = [(run_error(r, method), what.of(r).mean().item()) for r in of(records, data, method)]
            each = [(run, mean) for run, mean in each if run < math.inf]
            axes.plot([run for run, _ in each], [mean for _, mean in each], marker, color=color, ms=3, alpha=0.5)
            seeds += each
            if method.order:
                at, offset = (error, value.mean), (5, 4)
                axes.annotate(f"{method.order}", at, offset, textcoords="offset points", fontsize=8, color="0.3")
        axes.plot(*zip(*path, strict=True), color=color, linewidth=0.7, alpha=0.5)
    title = f"{data.title}\n(up is better; the digit is L)"
    label(axes, "error of a task's meta-gradient,\ngeometric mean along training", what.label, title, log="x")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda error, _: f"{error:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = _around([value for _, value in seeds] + [exact.mean])
    axes.set_ylim(*(low, high)[:: what.sign])  # up is better
    axes.set_xlim(*(math.exp(end) for end in _around([math.log(error) for error, _ in seeds if error > 0])))
    grid(axes)


def _along(axes: Axes, settings: ErrorAccuracySettings, records: Records, data: DataSet) -> None:
    """Geometric means of the seeds, as far as all went; thin: each."""
    for name, (color, _) in _STYLES.items():
        for method in named(settings.methods, name):
            if method.order not in (0, _SHOWN):
                continue
            trained = of(records, data, method)
            runs = [np.array([np.nan if e is None else e for e in each]) for each in trained.column("probe_errors")]
            for record, errors in zip(trained, runs, strict=True):
                axes.plot(record["probe_steps"], errors, color=color, linewidth=0.5, alpha=0.4)
            shortest = min(len(errors) for errors in runs)
            with np.errstate(divide="ignore"):
                mean = np.exp(np.mean([np.log(errors[:shortest]) for errors in runs], axis=0))
            axes.plot(trained[0]["probe_steps"][:shortest], mean, color=color, linewidth=1.8)
    axes.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
    label(axes, "meta-steps", f"error of a task's meta-gradient (L = {_SHOWN})", log="y")
    grid(axes)


def _listing(settings: ErrorAccuracySettings, records: Records, data: DataSet) -> Listing:
    what, config, exact = score(data), data.config, settings.maml
    loss = ("loss",) if what.name != "loss" else ()
    rows: list[list[str]] = []
    for method in settings.methods:
        trained = of(records, data, method)
        cells = [method.label, what.written(pooled_score(records, data, method))]
        cells += [f"{sum(trained.column('loss')) / len(trained):.3f}" for _ in loss]
        distance = contrast(records, data, {method: 1, exact: -1}) if method != exact else None
        cells.append("" if distance is None else what.written(distance, signed=True))
        closed = share(records, data, (FOMAML, exact), method, 1.0).closed if method not in (FOMAML, exact) else None
        cells.append("" if closed is None else f"{100 * closed:.0f} %".replace("-", "−"))
        error, low, high = pooled_error(records, data, method)
        spread = f" ({low:.2g} to {high:.2g})" if low <= high else ""  # one seed has none
        cells.append("0" if method == exact else f"{error:.2g}{spread}")
        # Medians: neither compiling nor what else the machine did counts.
        timed = [r for r in trained if r["seconds_per_meta_step"] is not None]
        times = [r["seconds_per_meta_step"] * r["meta_steps"] for r in timed]
        cells.append(f"{sum(times) / len(times):.1f}" if times else "")
        rows.append(cells)
    title = (
        f"{data.title}: {config['meta_steps']} meta-steps of {config['meta_batch']} tasks, K = {config['num_steps']}, "
        f"{config['rule']}, {settings.seeds_in_words}, {config['test']['tasks']} test tasks; ± 95 % over seeds and "
        "tasks, differences paired, positive where better"
    )
    distance = ("minus MAML", "gap to MAML closed", "error along training (95 %)", "meta-steps, s a run")
    return listing(title, ("method", what.label, *loss, *distance), rows)


def _around(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    margin = _MARGIN * (high - low) or 1.0
    return low - margin, high + margin


class Pictured(Study[ErrorAccuracySettings]):
    """The part of the study that draws figure and tables."""

    def figure(self, settings: ErrorAccuracySettings, records: Records) -> Figure:
        count = len(settings.data_sets)
        figure, rows = panels(2, count, 1.2 + 3.8 * count, 7.4)
        for above, below, data in zip(*rows, settings.data_sets, strict=True):
            _results(above, settings, records, data)
            _along(below, settings, records, data)
        handles = {
            label: handle for axes in rows[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        columns = min(len(handles), _LEGEND_COLUMNS * count)
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False)
        return figure

    def listings(self, settings: ErrorAccuracySettings, records: Records) -> list[Listing]:
        return [*(_listing(settings, records, data) for data in settings.data_sets), runs(settings, records)]
