"""Figure and tables of error-and-accuracy."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from metagrad.experiments.axes import grid
from metagrad_studies.accuracy import methods
from metagrad_studies.accuracy.comparing import of
from metagrad_studies.accuracy.settings import DataSet
from metagrad_studies.core.plots import COLORS, VARIANTS
from metagrad_studies.core.records import Records
from metagrad_studies.core.study import Listing
from metagrad_studies.error_and_accuracy.findings import BARS, share
from metagrad_studies.error_and_accuracy.records import (
    ErrorAccuracySettings,
    contrast,
    pooled_error,
    pooled_score,
    run_error,
    score,
)


class _Style(NamedTuple):
    color: str
    marker: str


_STYLES: Mapping[str, _Style] = {
    "FOMAML": _Style(COLORS["FirstOrder"], "s"),
    "Truncated": _Style(COLORS["Truncated"], "v"),
    "Binomial plain": _Style(VARIANTS["plain"], "o"),
    "Binomial L/K": _Style(VARIANTS["paper"], "^"),
    "Binomial auto": _Style(VARIANTS["auto"], "*"),
}
_EXACT = "MAML"
_LEGEND_COLUMNS = 3  # under a panel
_MARGIN = 0.12  # of an axis, on both sides
_SHOWN = max(BARS)  # the order whose errors along training are drawn: all orders at once cannot be read


def figure(settings: ErrorAccuracySettings, records: Records) -> Figure:
    """A column a data set: results over errors, then errors over meta-steps."""
    sets = settings.data_sets
    figure = Figure(figsize=(1.2 + 3.8 * len(sets), 7.4), layout="constrained")
    panels = figure.subplots(2, len(sets), squeeze=False)
    for above, below, data in zip(*panels, sets, strict=True):
        _results(above, settings, records, data)
        _along(below, settings, records, data)
    handles = {
        label: handle for axes in panels[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    columns = min(len(handles), _LEGEND_COLUMNS * len(sets))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _results(axes: Axes, settings: ErrorAccuracySettings, records: Records, data: DataSet) -> None:
    """A point a method with both 95 % intervals, small ones its seeds; Exact, whose error is 0, is a line and a band.

    Axes hold every seed, and cut intervals that are wider: those over three seeds would squeeze all else together.
    """
    exact = pooled_score(records, data, methods.named(settings.methods, _EXACT)[0])
    axes.axhline(exact.mean, color=COLORS["Exact"], linewidth=1.2, label=_EXACT)
    seeds: list[tuple[float, float]] = []
    axes.axhspan(exact.mean - exact.half_width, exact.mean + exact.half_width, color=COLORS["Exact"], alpha=0.08, lw=0)
    for name, style in _STYLES.items():
        path: list[tuple[float, float]] = []
        for method in methods.named(settings.methods, name):
            value = pooled_score(records, data, method)
            error, low, high = pooled_error(records, data, method)
            axes.errorbar(
                error,
                value.mean,
                xerr=[[error - low], [high - error]],
                yerr=value.half_width,
                color=style.color,
                marker=style.marker,
                markersize=9 if style.marker == "*" else 6,
                elinewidth=1,
                linestyle="none",
                label=name,
            )
            path.append((error, value.mean))
            each = [
                (run_error(r, method), score(data).of(r).mean().item())
                for r in of(records, data, method)
                if run_error(r, method) < math.inf
            ]
            at, reached = [run for run, _ in each], [mean for _, mean in each]
            axes.plot(at, reached, style.marker, color=style.color, markersize=3, alpha=0.5)
            seeds += each
            if method.order:
                axes.annotate(
                    f"{method.order}", (error, value.mean), (5, 4), textcoords="offset points", fontsize=8, color="0.3"
                )
        axes.plot(*zip(*path, strict=True), color=style.color, linewidth=0.7, alpha=0.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda error, _: f"{error:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("error of a task's meta-gradient,\ngeometric mean along training")
    axes.set_ylabel(score(data).label)
    low, high = _around([value for _, value in seeds] + [exact.mean])
    axes.set_ylim(*(low, high)[:: score(data).sign])  # up is better
    axes.set_xlim(*(math.exp(end) for end in _around([math.log(error) for error, _ in seeds if error > 0])))
    axes.set_title(f"{data.title}\n(up is better; the digit is L)", fontsize=10)
    grid(axes)


def _along(axes: Axes, settings: ErrorAccuracySettings, records: Records, data: DataSet) -> None:
    """Geometric means of the seeds, as far as all went; thin: each."""
    for name, style in _STYLES.items():
        for method in methods.named(settings.methods, name):
            if method.order not in (0, _SHOWN):
                continue
            found = of(records, data, method)
            runs = [np.array([np.nan if e is None else e for e in r["probe_errors"]], dtype=float) for r in found]
            for record, errors in zip(found, runs, strict=True):
                axes.plot(record["probe_steps"], errors, color=style.color, linewidth=0.5, alpha=0.4)
            shortest = min(len(errors) for errors in runs)
            with np.errstate(divide="ignore"):
                mean = np.exp(np.mean([np.log(errors[:shortest]) for errors in runs], axis=0))
            axes.plot(found[0]["probe_steps"][:shortest], mean, color=style.color, linewidth=1.8)
    axes.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel("meta-steps")
    axes.set_ylabel(f"error of a task's meta-gradient (L = {_SHOWN})")
    grid(axes)


def listings(settings: ErrorAccuracySettings, records: Records) -> list[Listing]:
    """A table a data set: result, loss, distance to MAML, share of the gap, error, time."""
    return [_listing(settings, records, data) for data in settings.data_sets]


def _listing(settings: ErrorAccuracySettings, records: Records, data: DataSet) -> Listing:
    what, config = score(data), data.config
    first, exact = (methods.named(settings.methods, name)[0] for name in ("FOMAML", _EXACT))
    rows: list[tuple[str, ...]] = []
    for method in settings.methods:
        found = of(records, data, method)
        error, low, high = pooled_error(records, data, method)
        row = [method.label, what.written(pooled_score(records, data, method))]
        if what.name != "loss":
            row.append(f"{sum(record['loss'] for record in found) / len(found):.3f}")
        row += [""] if method == exact else [what.written(contrast(records, data, {method: 1, exact: -1}), signed=True)]
        between = method not in (first, exact)
        closed = 100 * share(records, data, (first, exact), method, 1.0).closed if between else 0.0
        row += [f"{closed:.0f} %".replace("-", "−") if between else ""]
        row += ["0" if method == exact else _interval(error, low, high)]
        # Medians: neither compiling nor what else the machine did counts.
        times = [r["seconds_per_meta_step"] * r["meta_steps"] for r in found if r["seconds_per_meta_step"] is not None]
        row += [f"{sum(times) / len(times):.1f}" if times else ""]
        rows.append(tuple(row))
    loss = ("loss",) if what.name != "loss" else ()
    title = (
        f"{data.title}: {config['meta_steps']} meta-steps of {config['meta_batch']} tasks, K = {config['num_steps']}, "
        f"{config['rule']}, {_seeds(settings)}, {config['test']['tasks']} test tasks; ± 95 % over seeds and "
        "tasks, differences paired, positive where better"
    )
    return Listing(
        title,
        (
            "method",
            what.label,
            *loss,
            "minus MAML",
            "gap to MAML closed",
            "error along training (95 %)",
            "meta-steps, s a run",
        ),
        tuple(rows),
    )


def _around(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    margin = _MARGIN * (high - low) or 1.0
    return low - margin, high + margin


def _interval(middle: float, low: float, high: float) -> str:
    """One seed has no interval."""
    return f"{middle:.2g} ({low:.2g} to {high:.2g})" if low <= high else f"{middle:.2g}"


def _seeds(settings: ErrorAccuracySettings) -> str:
    return "1 seed" if len(settings.seeds) == 1 else f"{len(settings.seeds)} seeds"
