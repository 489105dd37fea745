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
from metagrad_studies.core.plots import COLORS, GRAPH, SIDES
from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Bench, Cell, Finding, Listing, Request, Study
from metagrad_studies.fobmaml_memory.ways import Workload, meta_gradient, ways
from metagrad_studies.instruments.resident import peak_resident_growth

_GRAPH, _EXACT, _RECOMPUTED = "MAML, graph kept", "Exact", "Exact, Logarithmic"
_OURS = ("FO-B-MAML forward", "FO-B-MAML symmetric")
_LINES = {  # colour, line, marker
    _GRAPH: (GRAPH, "-", "s"),
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
    """One meta-gradient, and over what it is varied.

    Args:
        workload: task, network and estimators.
        channels: widths of the network, at `at_steps` inner steps; the last is the widest.
        steps: numbers of inner steps, at the widest network; first and last are compared.
        at_steps: inner steps K where the width varies; one of `steps`.
        resident_steps: at which of the `steps` the resident size of a process is measured too.
        flat: largest ratio of peaks that counts as flat.
        share: largest share of the kept graph's peak that counts as having no bottleneck.
    """

    workload: Workload
    channels: tuple[int, ...]
    steps: tuple[int, ...]
    at_steps: int
    resident_steps: tuple[int, ...]
    flat: float
    share: float


class Memory(Study[MemorySettings]):
    """Peak memory of every way to a meta-gradient."""

    name: ClassVar[str] = "fobmaml-memory"
    title: ClassVar[str] = "Peak memory of one meta-gradient over inner steps and channels"
    source: ClassVar[str] = "FO-B-MAML (Chayti and Jaggi, arXiv 2409.03682), its memory footprint"
    choices: ClassVar[tuple[str, ...]] = (
        "Network and data of the paper's measurement are not published. Ours: MNIST-1D signals of 40 points, three "
        "convolutional layers of kernel 3 at full length with batch norm and ReLU, 5 ways, 10 support and 5 query "
        "signals each, so that activations and not parameters fill the memory. One task.",
        "The peak is that of live tensors (on CUDA, of the allocator) above what was there before; operations' own "
        "workspaces are seen only in the resident size of a fresh process, by which its peak grew.",
        "MAML with the graph kept is a plain loop with create_graph=True. Exact recomputes one graph at a time and "
        "keeps 2K parameter copies; with trajectory=Logarithmic() about log₂K. FO-B-MAML and Implicit solve the "
        "problem with a proximal term.",
    )

    def settings(self, request: Request) -> MemorySettings:
        """Up to 250 channels and 50 steps at either size; more points, and more resident sizes, at full size."""
        full = request.scale == "full"
        steps = (5, 10, 20, 30, 40, 50) if full else (5, 10, 20, 50)
        return MemorySettings(
            workload=Workload(
                ways=5,
                shots=10,
                queries=5,
                depth=3,
                lr=0.1,
                proximal=1.0,
                order=2,
                seed=0,
                device="cuda" if torch.cuda.is_available() else "cpu",
            ),
            channels=(10, 25, 50, 100, 150, 200, 250) if full else (25, 100, 175, 250),
            steps=steps,
            at_steps=10,
            resident_steps=steps if full else (10,),
            flat=1.2,
            share=1 / 3,
        )

    def cells(self, settings: MemorySettings) -> Sequence[Cell]:
        """One a way and size."""
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
        """Peak and time of one meta-gradient."""
        size = (cell.values["way"], cell.values["channels"], cell.values["steps"])
        compute = meta_gradient(settings.workload, *size)
        began = time.perf_counter()
        peak = peak_bytes(compute, torch.device(settings.workload.device))
        seconds = time.perf_counter() - began
        wanted = size[1] == settings.channels[-1] and size[2] in settings.resident_steps
        resident = peak_resident_growth(settings.workload, *size) if wanted else None
        return [{"peak_bytes": peak, "seconds": seconds, "resident_bytes": resident}]

    def figure(self, settings: MemorySettings, records: Records) -> Figure:
        """Over steps, and over channels."""
        figure = Figure(figsize=(11.5, 5.2), layout="constrained")
        over_steps, over_channels = figure.subplots(1, 2, sharey=True)
        widest = settings.channels[-1]
        _draw(over_steps, [r for r in records if r["channels"] == widest], "steps")
        _draw(over_channels, [r for r in records if r["steps"] == settings.at_steps], "channels")
        over_steps.set_xlabel("inner steps K")
        over_steps.set_ylabel("peak memory of one meta-gradient (MB)")
        over_steps.set_title(f"{widest} channels", fontsize=10)
        over_channels.set_xlabel("channels of every layer")
        over_channels.set_title(f"K = {settings.at_steps}", fontsize=10)
        handles, labels = over_steps.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        return figure

    def listings(self, settings: MemorySettings, records: Records) -> Sequence[Listing]:
        """Peaks over steps and over channels, and resident sizes."""
        widest, names = settings.channels[-1], list(ways(settings.workload))
        resident = [r for r in records if r["resident_bytes"] is not None]

        def row(name: str, sizes: Iterable[tuple[int, int]], ratio: float) -> tuple[str, ...]:
            return name, *(f"{_peak(records, name, *size) / _MB:.1f}" for size in sizes), f"{ratio:.2f}"

        over_steps = [(widest, steps) for steps in settings.steps]
        over_channels = [(channels, settings.at_steps) for channels in settings.channels]
        tables = [
            Listing(
                f"Peak memory in MB at {widest} channels",
                ("", *(f"K = {steps}" for steps in settings.steps), "last / first"),
                tuple(row(name, over_steps, _growth(settings, records, name)) for name in names),
            ),
            Listing(
                f"Peak memory in MB at K = {settings.at_steps}",
                ("", *(f"{channels} channels" for channels in settings.channels), "share of the kept graph"),
                tuple(row(name, over_channels, _share(settings, records, name)) for name in names),
            ),
        ]
        if resident:
            rows = [(r["way"], str(r["steps"]), f"{r['resident_bytes'] / _MB:.0f}") for r in resident]
            title = f"Growth of a process's peak resident size in MB at {widest} channels"
            tables.append(Listing(title, ("", "K", "MB"), tuple(rows)))
        return tables

    def findings(self, settings: MemorySettings, records: Records) -> Sequence[Finding]:
        """Flat in steps, in channels, beside the kept graph; and ours."""
        first, last, widest = settings.steps[0], settings.steps[-1], settings.channels[-1]
        growths = {name: _growth(settings, records, name) for name in (*_OURS, _GRAPH, _EXACT, _RECOMPUTED)}
        shares = {name: _share(settings, records, name) for name in (*_OURS, _EXACT, _RECOMPUTED)}
        widths = {
            name: _peak(records, name, widest, settings.at_steps)
            / _peak(records, name, settings.channels[0], settings.at_steps)
            for name in (*_OURS, _GRAPH)
        }
        return [
            Finding(
                "FO-B-MAML's memory is flat in the number of inner steps.",
                f"Peak at K = {last} over that at K = {first}, {widest} channels: {_texts(growths, *_OURS, _GRAPH)}; "
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
                f"{_texts(widths, *_OURS, _GRAPH)}. One gradient's activations grow with the channels, so no method is "
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


def _peak(records: Records, name: str, channels: int, steps: int) -> int:
    return next(r["peak_bytes"] for r in records if (r["way"], r["channels"], r["steps"]) == (name, channels, steps))


def _growth(settings: MemorySettings, records: Records, name: str) -> float:
    widest = settings.channels[-1]
    return _peak(records, name, widest, settings.steps[-1]) / _peak(records, name, widest, settings.steps[0])


def _share(settings: MemorySettings, records: Records, name: str) -> float:
    at = (settings.channels[-1], settings.at_steps)
    return _peak(records, name, *at) / _peak(records, _GRAPH, *at)


def _texts(values: dict[str, float], *names: str) -> str:
    return ", ".join(f"{values[name]:.2f} ({name})" for name in names)


def _draw(axes: Axes, records: Records, over: str) -> None:
    for name, (color, style, marker) in _LINES.items():
        line = sorted((r[over], r["peak_bytes"] / _MB) for r in records if r["way"] == name)
        axes.plot(*zip(*line, strict=True), color=color, linestyle=style, marker=marker, markersize=5, label=name)
    axes.set_yscale("log")
    grid(axes)


STUDY = Memory()
