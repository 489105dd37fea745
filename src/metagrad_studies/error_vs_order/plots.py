"""Figure and tables of error-vs-order."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad_studies.core.plots import COLORS, VARIANTS, label, legend, legend_below, order_axis, panels, share_height
from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Listing, listing
from metagrad_studies.error_vs_order.families import FAMILIES
from metagrad_studies.error_vs_order.records import NetworkErrorsSettings, Place, places

_LINES: Mapping[str, tuple[str, str]] = {
    "Truncated": (COLORS["Truncated"], "v"),
    "Binomial": (VARIANTS["plain"], "o"),
    "Binomial-paper": (VARIANTS["paper"], "^"),
    "Binomial-auto": (VARIANTS["auto"], "*"),
}
_STAGES = ("0.7", "0.45", "0.0")


def figure(settings: NetworkErrorsSettings, records: Records) -> Figure:
    """A row a network: errors at each stage, then curvature along the inner loop, then operations."""
    count, stages = len(settings.networks), max(len(network.stages) for network in settings.networks)
    drawn, rows = panels(count, stages + 2, 3.4 * (stages + 2), 3.4 * count + 0.5)
    for row, network in zip(rows, settings.networks, strict=True):
        here = places(settings, records, network)
        for axes, place in zip(row, here, strict=False):
            _errors(axes, place)
        share_height(row[: len(here)])
        for axes in row[len(here) : stages]:
            axes.set_axis_off()
        row[0].set_ylabel(f"{network.name}\nrelative error of a task's\nmeta-gradient (quartiles)")
        _spectra(row[-2], here)
        _operations(row[-1], here[0])
    legend_below(drawn, rows[0][0], len(_LINES))
    return drawn


def _errors(axes: Axes, place: Place) -> None:
    orders = range(place.network.num_steps)
    for family, (color, marker) in _LINES.items():
        line = Records(place.row(family, order) for order in orders)
        axes.fill_between(orders, line.column("error_25"), line.column("error_75"), color=color, alpha=0.15, lw=0)
        axes.plot(orders, line.column("error"), color=color, marker=marker, markersize=5, label=FAMILIES[family])
    label(axes, title=f"after {place.stage} meta-steps", log="y")
    order_axis(axes, len(orders))


def _spectra(axes: Axes, here: Sequence[Place]) -> None:
    for place, color in zip(here, _STAGES, strict=False):
        links = place.spectrum()
        at = [step + 1 for step in links.column("step")]
        axes.plot(at, links.column("high"), color=color, marker="o", markersize=4, label=f"after {place.stage}")
        axes.plot(at, links.column("low"), color=color, marker="o", markersize=4, linestyle=":")
    axes.axhline(0, color="0.85", linewidth=0.8)
    axes.set_xticks(range(1, here[0].network.num_steps + 1))
    label(axes, "inner step", "extreme eigenvalues of α·H", "curvature (medians over tasks)")
    legend(axes)


def _operations(axes: Axes, place: Place) -> None:
    orders = range(place.network.num_steps)
    exact = place.records.one(family="Exact", order=len(orders))
    for family in ("Truncated", "Binomial", "Binomial-auto"):
        color, marker = _LINES[family]
        for cost, style in (("flops", "-"), ("peak_bytes", ":")):
            shares = [place.row(family, order)[cost] / exact[cost] for order in orders]
            axes.plot(orders, shares, color=color, marker=marker, markersize=5, linestyle=style)
    axes.axhline(1, color="0.6", linewidth=0.8)
    axes.set_xticks(orders)
    label(axes, "order or window L", "share of Exact's", "operations (—), memory (···)")


def listings(settings: NetworkErrorsSettings, records: Records) -> list[Listing]:
    """Errors with quartiles, curvature, and costs."""
    everywhere = places(settings, records)
    tables = [
        listing(
            f"{network.name}: relative error by order, median (quartiles) over {network.tasks} tasks",
            ("meta-steps", "estimator", "FirstOrder", *(f"L = {order}" for order in range(1, network.num_steps))),
            (
                (place.stage, words, *(_quartiles(place.row(family, order)) for order in range(network.num_steps)))
                for place in everywhere
                if place.network == network
                for family, words in FAMILIES.items()
            ),
        )
        for network in settings.networks
    ]
    curvature = [
        (
            place.network.name,
            place.stage,
            *(f"{link['low']:.2f} to {link['high']:.2f}" for link in (links[0], links[-1])),
            f"{max(links.column('radius')):.2f}",
            f"{sum(place.steepness()) / place.network.tasks:.2f}",
        )
        for place in everywhere
        for links in [place.spectrum()]
    ]
    costs = [
        (
            place.network.name,
            *(r[field] for field in ("estimator", "products", "rounds")),
            f"{r['flops'] / 1e6:.3g}",
            f"{r['peak_bytes'] / 2**20:.3g}",
        )
        for place in everywhere
        if place.stage == place.network.stages[0]
        for r in place.records.where(kind="error")
    ]
    spread = ("first step", "last step", "largest spectral radius", "K·αλ_max, mean over tasks")
    return [
        *tables,
        listing(
            "Eigenvalues of α·H along the inner loop (medians over tasks)",
            ("network", "meta-steps", *spread),
            curvature,
        ),
        listing(
            "Cost of one task's meta-gradient, inner loop included (float64)",
            ("network", "estimator", "products", "rounds", "operations (millions)", "peak memory (MiB)"),
            costs,
        ),
    ]


def _quartiles(record: Record) -> str:
    return f"{record['error']:.2g} ({record['error_25']:.1g}, {record['error_75']:.1g})"
