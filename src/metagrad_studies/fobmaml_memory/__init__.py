"""FO-B-MAML: peak memory of one meta-gradient over the number of inner steps and the width of the network."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad.experiments.axes import grid
from metagrad.memory import peak_bytes
from metagrad_studies.core import Bench, Cell, Finding, Listing, Record, Records, Request, Study, listing
from metagrad_studies.core.plots import COLORS, GRAPH, SIDES, label, legend_below, panels
from metagrad_studies.fobmaml_memory.resident import peak_resident_growth
from metagrad_studies.fobmaml_memory.ways import KEPT, Workload, meta_gradient, ways

_EXACT, _RECOMPUTED = "Exact", "Exact, Logarithmic"
_OURS = ("FO-B-MAML forward", "FO-B-MAML symmetric")
_LINES = {  # colour, line, marker
    KEPT: (GRAPH, "-", "s"),
    "Binomial, one link at a time": (COLORS["Binomial"], "-", "^"),
    _EXACT: (COLORS["Exact"], "-", "o"),
    _RECOMPUTED: (COLORS["Exact"], "--", "o"),
    "Implicit": (COLORS["Implicit"], "-", "D"),
    "FO-B-MAML symmetric": (SIDES["symmetric"], "-", "o"),
    "FO-B-MAML forward": (SIDES["forward"], "--", "x"),
    "FirstOrder": (COLORS["FirstOrder"], "-", "v"),
}
_MB = 1e6


@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """One meta-gradient, and over what it is varied."""

    workload: Workload  # task, network and estimators
    channels: tuple[int, ...]  # widths of the network, at `at_steps` inner steps; the last is the widest
    steps: tuple[int, ...]  # numbers of inner steps, at the widest network; first and last are compared
    at_steps: int = 10  # inner steps K where the width varies; one of `steps`
    resident_steps: tuple[int, ...]  # at which of the `steps` the resident size of a process is measured too
    flat: float = 1.2  # largest ratio of peaks that counts as flat
    share: float = 1 / 3  # largest share of the kept graph's peak that counts as having no bottleneck


class Memory(Study[MemorySettings]):
    """Peak memory of every way to a meta-gradient."""

    name: ClassVar[str] = "fobmaml-memory"
    title: ClassVar[str] = "Peak memory of one meta-gradient over inner steps and channels"
    source: ClassVar[str] = "FO-B-MAML (Chayti and Jaggi, arXiv 2409.03682), its memory footprint"
    choices: ClassVar[tuple[str, ...]] = (
        "The paper does not publish the network and data of its measurement. Ours: one task of MNIST-1D signals of 40 "
        "points, 5 ways, 10 support and 5 query signals each; three convolutional layers of kernel 3 at full length "
        "with batch norm and ReLU. So activations fill the memory, not parameters.",
        "The peak is that of live tensors (on CUDA, of the allocator) above what was there before. Workspaces inside "
        "operations show only in the growth of a fresh process's peak resident size.",
        "MAML with the graph kept is a plain loop with create_graph=True. Exact recomputes one graph at a time and "
        "keeps 2K parameter copies; with trajectory=Logarithmic() about log₂K. FO-B-MAML and Implicit solve the "
        "problem with a proximal term.",
    )

    def settings(self, request: Request) -> MemorySettings:
        full = request.scale == "full"
        steps = (5, 10, 20, 30, 40, 50) if full else (5, 10, 20, 50)
        return MemorySettings(
            workload=Workload(device="cuda" if torch.cuda.is_available() else "cpu"),
            channels=(10, 25, 50, 100, 150, 200, 250) if full else (25, 100, 175, 250),
            steps=steps,
            resident_steps=steps if full else (10,),
        )

    def cells(self, settings: MemorySettings) -> Sequence[Cell]:
        widest = settings.channels[-1]
        sizes = [(channels, settings.at_steps) for channels in settings.channels]
        sizes += [(widest, steps) for steps in settings.steps if steps != settings.at_steps]
        return [
            Cell(
                f"{name.replace(', ', '_').replace(' ', '-')},channels={channels},steps={steps}",
                {"way": name, "channels": channels, "steps": steps},
            )
            for name in ways(settings.workload)
            for channels, steps in sizes
        ]

    def measure(self, settings: MemorySettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        way, channels, steps = (cell.values[name] for name in ("way", "channels", "steps"))
        compute = meta_gradient(settings.workload, way, channels, steps)
        began = time.perf_counter()
        peak = peak_bytes(compute, torch.device(settings.workload.device))
        seconds = time.perf_counter() - began
        wanted = channels == settings.channels[-1] and steps in settings.resident_steps
        resident = peak_resident_growth(settings.workload, way, channels, steps) if wanted else None
        return [{"peak_bytes": peak, "seconds": seconds, "resident_bytes": resident}]

    def figure(self, settings: MemorySettings, records: Records) -> Figure:
        figure, [(over_steps, over_channels)] = panels(1, 2, 11.5, 5.2, sharey=True)
        widest = settings.channels[-1]
        _draw(over_steps, records.where(channels=widest), "steps")
        _draw(over_channels, records.where(steps=settings.at_steps), "channels")
        label(over_steps, "inner steps K", "peak memory of one meta-gradient (MB)", f"{widest} channels")
        label(over_channels, "channels of every layer", title=f"K = {settings.at_steps}")
        legend_below(figure, over_steps, 4)
        return figure

    def listings(self, settings: MemorySettings, records: Records) -> Sequence[Listing]:
        widest = settings.channels[-1]
        growths, shares, _ = _ratios(settings, records)

        def row(name: str, sizes: Iterable[tuple[int, int]], ratio: float) -> tuple[str, ...]:
            return name, *(f"{_peak(records, name, *size) / _MB:.1f}" for size in sizes), f"{ratio:.2f}"

        over_steps = [(widest, steps) for steps in settings.steps]
        over_channels = [(channels, settings.at_steps) for channels in settings.channels]
        tables = [
            listing(
                f"Peak memory in MB at {widest} channels",
                ("", *(f"K = {steps}" for steps in settings.steps), "last / first"),
                (row(name, over_steps, ratio) for name, ratio in growths.items()),
            ),
            listing(
                f"Peak memory in MB at K = {settings.at_steps}",
                ("", *(f"{channels} channels" for channels in settings.channels), "share of the kept graph"),
                (row(name, over_channels, ratio) for name, ratio in shares.items()),
            ),
        ]
        resident = [(r["way"], r["steps"], r["resident_bytes"]) for r in records if r["resident_bytes"] is not None]
        if resident:
            rows = ((way, steps, f"{grown / _MB:.0f}") for way, steps, grown in resident)
            title = f"Growth of a process's peak resident size in MB at {widest} channels"
            tables.append(listing(title, ("", "K", "MB"), rows))
        return tables

    def findings(self, settings: MemorySettings, records: Records) -> Sequence[Finding]:
        growths, shares, widths = _ratios(settings, records)
        first, last, widest = settings.steps[0], settings.steps[-1], settings.channels[-1]
        return [
            Finding(
                "FO-B-MAML's memory is flat in the number of inner steps.",
                f"Peak at K = {last} over that at K = {first}, {widest} channels: {_texts(growths, *_OURS, KEPT)}; "
                f"held where at most {settings.flat:g}.",
                all(growths[name] <= settings.flat for name in _OURS),
            ),
            Finding(
                "FO-B-MAML bypasses the activation bottleneck of second-order approaches.",
                f"Share of the kept graph's peak at {widest} channels, K = {settings.at_steps}: "
                f"{_texts(shares, *_OURS)}; held where at most {settings.share:.2f}.",
                all(shares[name] <= settings.share for name in _OURS),
            ),
            Finding(
                f"Its footprint stays flat when scaling up to {widest} channels.",
                f"Peak at {widest} channels over that at {settings.channels[0]}, K = {settings.at_steps}: "
                f"{_texts(widths, *_OURS, KEPT)}. One gradient's activations grow with the channels, so no method is "
                "flat in them; what stays flat at any width is the growth with K.",
                all(widths[name] <= settings.flat for name in _OURS),
            ),
            Finding(
                "Ours, not the paper's: second-order meta-gradients that recompute have no such bottleneck either.",
                f"Exact with trajectory=Logarithmic(): {growths[_RECOMPUTED]:.2f} from K = {first} to {last}, and "
                f"{shares[_RECOMPUTED]:.2f} of the kept graph's peak (held where at most {settings.flat:g} and "
                f"{settings.share:.2f}). Exact as it comes keeps 2K parameter copies: {growths[_EXACT]:.2f} and "
                f"{shares[_EXACT]:.2f}.",
                growths[_RECOMPUTED] <= settings.flat and shares[_RECOMPUTED] <= settings.share,
            ),
        ]


def _peak(records: Records, way: str, channels: int, steps: int) -> int:
    return records.one(way=way, channels=channels, steps=steps)["peak_bytes"]


def _ratios(settings: MemorySettings, records: Records) -> tuple[dict[str, float], ...]:
    """For every way: growth with the steps, share of the kept graph, growth with the channels."""
    (few, *_, many), (narrow, *_, wide), at = settings.steps, settings.channels, settings.at_steps
    names = ways(settings.workload)
    usual = {name: _peak(records, name, wide, at) for name in names}
    return (
        {name: _peak(records, name, wide, many) / _peak(records, name, wide, few) for name in names},
        {name: usual[name] / usual[KEPT] for name in names},
        {name: usual[name] / _peak(records, name, narrow, at) for name in names},
    )


def _texts(values: dict[str, float], *names: str) -> str:
    return ", ".join(f"{values[name]:.2f} ({name})" for name in names)


def _draw(axes: Axes, records: Records, over: str) -> None:
    for name, (color, style, marker) in _LINES.items():
        line = sorted((r[over], r["peak_bytes"] / _MB) for r in records.where(way=name))
        axes.plot(*zip(*line, strict=True), color=color, linestyle=style, marker=marker, markersize=5, label=name)
    axes.set_yscale("log")
    grid(axes)


STUDY = Memory()
