"""BinomGBML's Figure 4: time, memory and utilisation of one meta-step over the order L."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad.experiments.axes import grid
from metagrad.memory import peak_bytes
from metagrad_studies.core import Bench, Cell, Finding, Listing, Record, Records, Request, Study, crossed, listing
from metagrad_studies.core.plots import COLORS, GRAPH, label, legend_below, panels
from metagrad_studies.core.verdicts import all_of
from metagrad_studies.fig4.contenders import (
    EXACT,
    FIRST,
    KEPT,
    SINGLY,
    TOGETHER,
    TRUNCATED,
    ConsumptionSettings,
    contenders,
    cuda_sample,
    sampled,
    timed,
)

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
        "Images are random numbers in the shape of miniImageNet's: neither time nor memory depends on their content. "
        "The meta-step is that of the published tables: Conv4 with 32 filters, 5 ways, 15 queries, K = 5. The paper "
        "does not say how many shots: we measure both. Small size has images of 48×48 in place of 84×84, and one task "
        "in a meta-step in place of four.",
        "Tasks go one after another, nothing is compiled. MAML with its graph kept is a plain loop with "
        "create_graph=True; recomputed is `Exact`, the fair baseline for memory. Binomial computes the products of a "
        "round side by side, as in the paper, and once more one at a time (link_chunk=1).",
        "Times are medians over turns with quartiles. Every contender has one run in each turn; ratios are medians of "
        "the ratios within a turn. Utilisation on a CPU is this process's processor time over wall time and threads. "
        "On CUDA it is what the driver reports; without pynvml it is left out.",
    )

    def settings(self, request: Request) -> ConsumptionSettings:
        full = request.scale == "full"
        return ConsumptionSettings(
            size=84 if full else 48,
            meta_batch=4 if full else 1,
            turns=20 if full else 3,
            device="cuda" if torch.cuda.is_available() else "cpu",
        )

    def cells(self, settings: ConsumptionSettings) -> Sequence[Cell]:
        return crossed("{what},shots={shots}", shots=settings.shots, what=("memory", "time"))

    def measure(self, settings: ConsumptionSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        device = torch.device(settings.device)
        everyone = contenders(settings, cell.values["shots"])
        if cell.values["what"] == "memory":
            return [{**about, "peak_bytes": peak_bytes(compute, device)} for about, compute in everyone]
        for _, compute in everyone:
            compute()  # the first call also pays for kernel choice
        turns = [[timed(compute, device) for _, compute in everyone] for _ in range(settings.turns)]
        threads = torch.get_num_threads()
        sample = cuda_sample(device) if device.type == "cuda" else None
        records: list[Record] = []
        for (about, compute), times in zip(everyone, zip(*turns, strict=True), strict=True):
            busy = statistics.median(work / wall / threads for wall, work in times)
            if device.type == "cuda":
                watched = (settings.watched_seconds, settings.watched_every)
                busy = None if sample is None else sampled(compute, sample, *watched)
            seconds = [wall for wall, _ in times]
            records.append({**about, "seconds": seconds, "utilisation": busy, "threads": threads})
        return records

    def figure(self, settings: ConsumptionSettings, records: Records) -> Figure:
        figure, rows = panels(len(settings.shots), 3, 12.5, 0.8 + 3.6 * len(settings.shots))
        labels = ("time of a meta-step (ms), median, quartiles", "peak memory (MB)", "utilisation (%)")
        for row, shots in zip(rows, settings.shots, strict=True):
            times, peaks = (records.where(shots=shots, what=what) for what in ("time", "memory"))
            _draw(row[0], times, lambda r: [1e3 * part for part in _quartiles(r["seconds"])])
            _draw(row[1], peaks, lambda r: [r["peak_bytes"] / _MB] * 3)
            _draw(row[2], times, lambda r: [] if r["utilisation"] is None else [100 * r["utilisation"]] * 3)
            for axes, words in zip(row, labels, strict=True):
                label(axes, "order or window L", words, f"{shots} {'shot' if shots == 1 else 'shots'}")
                axes.set_ylim(bottom=0)
                grid(axes)
            row[2].set_ylim(0, 105)
        legend_below(figure, rows[0][0], 6)
        return figure

    def listings(self, settings: ConsumptionSettings, records: Records) -> Sequence[Listing]:
        return [_table(settings, records.where(shots=shots), shots) for shots in settings.shots]

    def findings(self, settings: ConsumptionSettings, records: Records) -> Sequence[Finding]:
        claims = {
            "Binomial leads to markedly reduced memory over MAML.": _memory,
            "The time of Binomial is slightly above that of Truncated.": _beside_truncated,
            f"The time of Binomial matches FOMAML's at L = 0 and MAML's at L = {settings.num_steps}.": _at_the_ends,
            "Binomial leads to markedly reduced compute consumption (utilisation) over MAML.": _busy,
        }
        judged: list[Finding] = []
        for claim, judge in claims.items():  # each in every setup
            setups = [(shots, *judge(settings, records.where(shots=shots))) for shots in settings.shots]
            measured = " ".join(f"{shots}-shot: {text}" for shots, text, _ in setups)
            judged.append(Finding(claim, measured, all_of(held for _, _, held in setups)))
        return judged


def _table(settings: ConsumptionSettings, records: Records, shots: int) -> Listing:
    rows: list[tuple[object, ...]] = []
    for times in records.where(what="time"):
        family, order = times["family"], times["order"]
        low, middle, high = (1e3 * part for part in _quartiles(times["seconds"]))
        peak = records.one(what="memory", family=family, order=order)["peak_bytes"]
        busy = "–" if times["utilisation"] is None else f"{100 * times['utilisation']:.0f}"
        ratio = f"{time_ratio(records, (family, order), (KEPT, None)):.2f}"
        quartiles = f"{middle:.0f} ({low:.0f} to {high:.0f})"
        rows.append((family, "" if order is None else order, quartiles, ratio, f"{peak / _MB:.0f}", busy))
    columns = ("", "L", "ms, median (quartiles)", "time / MAML's, graph kept", "peak MB", "utilisation, %")
    return listing(f"One meta-step on {settings.device}, {shots}-shot", columns, rows)


def _quartiles(values: Sequence[float]) -> list[float]:
    return np.quantile(values, [0.25, 0.5, 0.75]).tolist()


def _draw(axes: Axes, records: Records, value: Callable[[Record], Sequence[float]]) -> None:
    """Lines over L; the others as levels. `value` gives quartiles, or nothing where nothing was measured."""
    for family, (color, style, marker) in _LINES.items():
        line = [(record["order"], value(record)) for record in records.where(family=family) if value(record)]
        low, middle, high = ([parts[at] for _, parts in line] for at in range(3))
        spread = [np.subtract(middle, low), np.subtract(high, middle)]
        look: dict[str, Any] = {"color": color, "linestyle": style, "marker": marker, "markersize": 5, "capsize": 2}
        axes.errorbar([order for order, _ in line], middle, yerr=spread, label=family, **look)
    for family, (color, style) in _LEVELS.items():
        parts = value(records.one(family=family))
        if parts:
            axes.axhline(parts[1], color=color, linestyle=style, linewidth=1.2, label=family)


_Verdict = tuple[str, bool | None]


def _memory(settings: ConsumptionSettings, records: Records) -> _Verdict:
    peaks = records.where(what="memory")
    kept, exact = (peaks.one(family=name)["peak_bytes"] for name in (KEPT, EXACT))
    each = (peaks.where(family=family).column("peak_bytes") for family in (TOGETHER, SINGLY))
    together, singly = ([peak / kept for peak in family] for family in each)
    text = (
        f"peaks of Binomial at L = 0 to {settings.num_steps} over that of MAML with its graph kept {_texts(together)}, "
        f"one link at a time at most {max(singly):.2f}; MAML that recomputes has {exact / kept:.2f}; held where at "
        f"most {settings.markedly:g}."
    )
    return text, max(together) <= settings.markedly


def _beside_truncated(settings: ConsumptionSettings, records: Records) -> _Verdict:
    together, singly = (
        [time_ratio(records, (family, order), (TRUNCATED, order)) for order in range(1, settings.num_steps)]
        for family in (TOGETHER, SINGLY)
    )
    text = (
        f"ratios at L = 1 to {settings.num_steps - 1} {_texts(together)}, one link at a time {_texts(singly)}; held "
        f"where between 1 and {settings.slightly:g}."
    )
    return text, all(1 <= ratio <= settings.slightly for ratio in together)


def _at_the_ends(settings: ConsumptionSettings, records: Records) -> _Verdict:
    last = settings.num_steps
    ends = [time_ratio(records, (TOGETHER, 0), (FIRST, None)), time_ratio(records, (TOGETHER, last), (KEPT, None))]
    recomputed = time_ratio(records, (TOGETHER, last), (EXACT, None))
    text = (
        f"ratios {_texts(ends)} (MAML with its graph kept; {recomputed:.2f} to MAML that recomputes); held where "
        f"within a factor of {settings.matching:g}."
    )
    return text, all(1 / settings.matching <= ratio <= settings.matching for ratio in ends)


def _busy(settings: ConsumptionSettings, records: Records) -> _Verdict:
    times = records.where(what="time")
    kept = times.one(family=KEPT)["utilisation"]
    if kept is None:
        return "the GPU's utilisation was not measured, for pynvml is not installed.", None
    shares = [share / kept for share in times.where(family=TOGETHER).column("utilisation")]
    text = (
        f"Binomial's at L = 0 to {settings.num_steps} over MAML's, graph kept, {_texts(shares)}; held where at most "
        f"{settings.markedly:g}."
    )
    return text, all(share <= settings.markedly for share in shares)


def time_ratio(records: Records, first: tuple[str, int | None], second: tuple[str, int | None]) -> float:
    """Median over turns of the ratio of two contenders' times within a turn."""
    above, below = (records.one(what="time", family=name, order=L)["seconds"] for name, L in (first, second))
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def _texts(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


STUDY = Consumption()
