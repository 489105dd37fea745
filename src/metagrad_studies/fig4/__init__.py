"""BinomGBML's Figure 4: time, memory and utilisation of one meta-step over the order L."""

import statistics
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad.experiments.axes import grid
from metagrad.memory import peak_bytes
from metagrad_studies.core.plots import COLORS, GRAPH
from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Bench, Cell, Finding, Listing, Request, Study
from metagrad_studies.fig4 import findings as consumption_findings
from metagrad_studies.fig4.contenders import (
    EXACT,
    FIRST,
    KEPT,
    SINGLY,
    TOGETHER,
    TRUNCATED,
    ConsumptionSettings,
    contenders,
)
from metagrad_studies.fig4.findings import find, of, time_ratio
from metagrad_studies.instruments.utilisation import Clock, cuda_sample, sampled

_LINES = {  # colour, line, marker
    TRUNCATED: (COLORS["Truncated"], "-", "v"),
    TOGETHER: (COLORS["Binomial"], "-", "o"),
    SINGLY: (COLORS["Binomial"], "--", "^"),
}
_LEVELS = {KEPT: (GRAPH, "-"), EXACT: (COLORS["Exact"], "-"), FIRST: (COLORS["FirstOrder"], "-")}
_MB = 1e6


class Consumption(Study[ConsumptionSettings]):
    """Truncated and Binomial over L between FOMAML and MAML, whose graph is kept or recomputed."""

    name: ClassVar[str] = "fig4"
    title: ClassVar[str] = "Time, memory and utilisation of one meta-step over the order L"
    source: ClassVar[str] = "BinomGBML (arXiv 2604.13263), Figure 4"
    choices: ClassVar[tuple[str, ...]] = (
        "Images are random numbers in the shape of miniImageNet's, for neither time nor memory depends on what is on "
        "them. The meta-step is that of the published tables: Conv4 with 32 filters, 5 ways, 15 queries, K = 5. "
        "Which shots the figure was made with is not said: both are measured. At small size images are 48×48 in place "
        "of 84×84, and a meta-step has one task in place of four.",
        "Tasks go one after another, nothing is compiled. MAML with its graph kept is a plain loop with "
        "create_graph=True; recomputed is `Exact`, the fair baseline for memory. Binomial computes the products of one "
        "round side by side, as in the paper, and once more one at a time (link_chunk=1).",
        "Times are medians over turns with quartiles; in each turn every contender has one, and ratios are medians of "
        "the ratios within a turn. On a CPU utilisation is processor time over wall time and threads, of this process; "
        "on CUDA what its driver reports, and left out without pynvml.",
    )

    def settings(self, request: Request) -> ConsumptionSettings:
        """The published network; smaller images, one task and fewer turns at small size."""
        full = request.scale == "full"
        return ConsumptionSettings(
            ways=5,
            shots=(1, 5),
            queries=15,
            size=84 if full else 48,
            filters=32,
            num_steps=5,
            lr=0.01,
            meta_batch=4 if full else 1,
            turns=20 if full else 3,
            seed=0,
            device="cuda" if torch.cuda.is_available() else "cpu",
            watched_seconds=5.0,
            watched_every=0.1,
            markedly=0.9,
            slightly=1.5,
            matching=1.1,
        )

    def cells(self, settings: ConsumptionSettings) -> Sequence[Cell]:
        """Times in turns are one piece of work; peaks are another."""
        return [
            Cell(f"{what},shots={shots}", {"what": what, "shots": shots})
            for shots in settings.shots
            for what in ("memory", "time")
        ]

    def measure(self, settings: ConsumptionSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """A record a contender."""
        device = torch.device(settings.device)
        asked = contenders(settings, cell.values["shots"])
        if cell.values["what"] == "memory":
            return [{**about, "peak_bytes": peak_bytes(compute, device)} for about, compute in asked]
        clock = Clock(device)
        for _, compute in asked:
            clock(compute)  # the first call also pays for kernel choice
        rows = [[clock(compute) for _, compute in asked] for _ in range(settings.turns)]
        threads = torch.get_num_threads()
        sample = cuda_sample(device) if device.type == "cuda" else None
        records: list[Record] = []
        for number, (about, compute) in enumerate(asked):
            walls, works = zip(*(row[number] for row in rows), strict=True)
            busy = statistics.median(work / wall / threads for wall, work in zip(walls, works, strict=True))
            if device.type == "cuda":
                watched = (settings.watched_seconds, settings.watched_every)
                busy = None if sample is None else sampled(compute, sample, *watched)
            records.append({**about, "seconds": list(walls), "utilisation": busy, "threads": threads})
        return records

    def figure(self, settings: ConsumptionSettings, records: Records) -> Figure:
        """A row a setup; a panel each for time, memory and utilisation, where that was measured."""
        figure = Figure(figsize=(12.5, 0.8 + 3.6 * len(settings.shots)), layout="constrained")
        panels = figure.subplots(len(settings.shots), 3, squeeze=False)
        labels = ("time of a meta-step (ms), median, quartiles", "peak memory (MB)", "utilisation (%)")
        for row, shots in zip(panels, settings.shots, strict=True):
            setup = of(records, shots)
            _draw(row[0], setup, "time", lambda r: [1e3 * part for part in _quartiles(r["seconds"])])
            _draw(row[1], setup, "memory", lambda r: [r["peak_bytes"] / _MB] * 3)
            _draw(row[2], setup, "time", lambda r: [] if r["utilisation"] is None else [100 * r["utilisation"]] * 3)
            for axes, label in zip(row, labels, strict=True):
                axes.set_title(f"{shots} {'shot' if shots == 1 else 'shots'}", fontsize=10)
                axes.set_xlabel("order or window L")
                axes.set_ylabel(label)
                axes.set_ylim(bottom=0)
                grid(axes)
            row[2].set_ylim(0, 105)
        handles, names = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=6, frameon=False)
        return figure

    def listings(self, settings: ConsumptionSettings, records: Records) -> Sequence[Listing]:
        """A table a setup, a row a contender."""
        return [_table(settings, of(records, shots), shots) for shots in settings.shots]

    def findings(self, settings: ConsumptionSettings, records: Records) -> Sequence[Finding]:
        """Memory, time, the two ends, and utilisation: each has to hold in every setup."""
        return consumption_findings.findings(settings, records)


def _table(settings: ConsumptionSettings, records: Records, shots: int) -> Listing:
    rows: list[tuple[str, ...]] = []
    for timed in (r for r in records if r["what"] == "time"):
        low, middle, high = _quartiles(timed["seconds"])
        peak = find(records, "memory", timed["family"], timed["order"])["peak_bytes"]
        busy = "–" if timed["utilisation"] is None else f"{100 * timed['utilisation']:.0f}"
        times = f"{1e3 * middle:.0f} ({1e3 * low:.0f} to {1e3 * high:.0f})"
        ratio = f"{time_ratio(records, (timed['family'], timed['order']), (KEPT, None)):.2f}"
        order = "" if timed["order"] is None else str(timed["order"])
        rows.append((timed["family"], order, times, ratio, f"{peak / _MB:.0f}", busy))
    columns = ("", "L", "ms, median (quartiles)", "time / MAML's, graph kept", "peak MB", "utilisation, %")
    return Listing(f"One meta-step on {settings.device}, {shots}-shot", columns, tuple(rows))


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = torch.tensor(values, dtype=torch.float64).quantile(
        torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    )
    return low.item(), middle.item(), high.item()


def _draw(axes: Axes, records: Records, what: str, value: Callable[[Record], Sequence[float]]) -> None:
    """Lines over L; the others as levels. `value` gives quartiles, or nothing where nothing was measured."""
    for family, (color, style, marker) in _LINES.items():
        line = [(r["order"], value(r)) for r in records if (r["what"], r["family"]) == (what, family) and value(r)]
        middles = [parts[1] for _, parts in line]
        spread = [[parts[1] - parts[0] for _, parts in line], [parts[2] - parts[1] for _, parts in line]]
        axes.errorbar(
            [order for order, _ in line],
            middles,
            yerr=spread,
            color=color,
            linestyle=style,
            marker=marker,
            markersize=5,
            capsize=2,
            label=family,
        )
    for family, (color, style) in _LEVELS.items():
        parts = value(find(records, what, family, None))
        if parts:
            axes.axhline(parts[1], color=color, linestyle=style, linewidth=1.2, label=family)


STUDY = Consumption()
