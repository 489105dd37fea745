"""Figure and tables of error-vs-order."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad_studies.network_records import FAMILIES, Network, NetworkErrorsSettings, row, spectrum, steepness, steps
from metagrad_studies.palette import COLORS, VARIANTS
from metagrad_studies.study import Listing, Record

_LINES: Mapping[str, tuple[str, str]] = {
    "Truncated": (COLORS["Truncated"], "v"),
    "Binomial": (VARIANTS["plain"], "o"),
    "Binomial-paper": (VARIANTS["paper"], "^"),
    "Binomial-auto": (VARIANTS["auto"], "*"),
}
_STAGES = ("0.7", "0.45", "0.0")


def figure(settings: NetworkErrorsSettings, records: Sequence[Record]) -> Figure:
    """A row a network: errors at each stage, then curvature along the inner loop, then operations."""
    stages = max(len(network.stages) for network in settings.networks)
    figure = Figure(figsize=(3.4 * (stages + 2), 3.4 * len(settings.networks) + 0.5), layout="constrained")
    grid = figure.subplots(len(settings.networks), stages + 2, squeeze=False)
    for panels, network in zip(grid, settings.networks, strict=True):
        for axes, stage in zip(panels, network.stages, strict=False):
            _errors(axes, records, network, stage)
        limits = [axes.get_ylim() for axes in panels[: len(network.stages)]]
        for axes in panels[: len(network.stages)]:
            axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        for axes in panels[len(network.stages) : stages]:
            axes.set_axis_off()
        panels[0].set_ylabel(f"{network.name}\nrelative error of a task's\nmeta-gradient (quartiles)")
        _spectra(panels[-2], records, network)
        _operations(panels[-1], records, network)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def listings(settings: NetworkErrorsSettings, records: Sequence[Record]) -> list[Listing]:
    """Errors with quartiles, curvature, and costs."""
    found: list[Listing] = []
    for network in settings.networks:
        orders = range(1, steps(network))
        rows: list[tuple[str, ...]] = []
        for stage in network.stages:
            first = _quartiles(row(records, network.name, stage, "FirstOrder", 0))
            for family, words in FAMILIES.items():
                cells = (_quartiles(row(records, network.name, stage, family, order)) for order in orders)
                rows.append((str(stage), words, first, *cells))
        found.append(
            Listing(
                f"{network.name}: relative error by order, median (quartiles) over {network.tasks} tasks",
                ("meta-steps", "estimator", "FirstOrder", *(f"L = {order}" for order in orders)),
                tuple(rows),
            )
        )
    curvature = [
        (
            network.name,
            str(stage),
            *(f"{r['low']:.2f} to {r['high']:.2f}" for r in (links[0], links[-1])),
            f"{max(r['radius'] for r in links):.2f}",
            f"{sum(steepness(records, network, stage)) / network.tasks:.2f}",
        )
        for network in settings.networks
        for stage in network.stages
        for links in [spectrum(records, network.name, stage)]
    ]
    found.append(
        Listing(
            "Eigenvalues of α·H along the inner loop (medians over tasks)",
            (
                "network",
                "meta-steps",
                "first step",
                "last step",
                "largest spectral radius",
                "K·αλ_max, mean over tasks",
            ),
            tuple(curvature),
        )
    )
    costs = [
        (
            network.name,
            r["estimator"],
            str(r["products"]),
            str(r["rounds"]),
            f"{r['flops'] / 1e6:.3g}",
            f"{r['peak_bytes'] / 2**20:.3g}",
        )
        for network in settings.networks
        for r in records
        if r["kind"] == "error" and (r["network"], r["meta_steps"]) == (network.name, network.stages[0])
    ]
    found.append(
        Listing(
            "Cost of one task's meta-gradient, inner loop included (float64)",
            ("network", "estimator", "products", "rounds", "operations (millions)", "peak memory (MiB)"),
            tuple(costs),
        )
    )
    return found


def _quartiles(record: Record) -> str:
    return f"{record['error']:.2g} ({record['error_25']:.1g}, {record['error_75']:.1g})"


def _errors(axes: Axes, records: Sequence[Record], network: Network, stage: int) -> None:
    orders = range(steps(network))
    for family, (color, marker) in _LINES.items():
        rows = [row(records, network.name, stage, family, order) for order in orders]
        axes.fill_between(
            orders, [r["error_25"] for r in rows], [r["error_75"] for r in rows], color=color, alpha=0.15, lw=0
        )
        middle = [r["error"] for r in rows]
        axes.plot(orders, middle, color=color, marker=marker, markersize=5, label=FAMILIES[family])
    axes.set_yscale("log")
    axes.set_xticks(orders, ["0\nFirstOrder", *map(str, orders[1:])])
    axes.set_xlabel("order or window L")
    axes.set_title(f"after {stage} meta-steps", fontsize=10)


def _spectra(axes: Axes, records: Sequence[Record], network: Network) -> None:
    for stage, color in zip(network.stages, _STAGES, strict=False):
        links = spectrum(records, network.name, stage)
        at = [r["step"] + 1 for r in links]
        axes.plot(at, [r["high"] for r in links], color=color, marker="o", markersize=4, label=f"after {stage}")
        axes.plot(at, [r["low"] for r in links], color=color, marker="o", markersize=4, linestyle=":")
    axes.axhline(0, color="0.85", linewidth=0.8)
    axes.set_xticks(range(1, steps(network) + 1))
    axes.set_xlabel("inner step")
    axes.set_ylabel("extreme eigenvalues of α·H")
    axes.set_title("curvature (medians over tasks)", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _operations(axes: Axes, records: Sequence[Record], network: Network) -> None:
    orders = range(steps(network))
    exact = row(records, network.name, network.stages[0], "Exact", steps(network))
    for family in ("Truncated", "Binomial", "Binomial-auto"):
        color, marker = _LINES[family]
        rows = [row(records, network.name, network.stages[0], family, order) for order in orders]
        axes.plot(orders, [r["flops"] / exact["flops"] for r in rows], color=color, marker=marker, markersize=5)
        memory = [r["peak_bytes"] / exact["peak_bytes"] for r in rows]
        axes.plot(orders, memory, color=color, marker=marker, markersize=5, linestyle=":")
    axes.axhline(1, color="0.6", linewidth=0.8)
    axes.set_xticks(orders)
    axes.set_xlabel("order or window L")
    axes.set_ylabel("share of Exact's")
    axes.set_title("operations (—), memory (···)", fontsize=10)
