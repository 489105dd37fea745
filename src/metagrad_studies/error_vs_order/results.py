"""What error-vs-order finds; its figure and its tables."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad_studies.core import Finding, Listing, Records, Study, listing
from metagrad_studies.core.plots import COLORS, VARIANTS, label, legend, legend_below, order_axis, panels, share_height
from metagrad_studies.error_vs_order.records import FAMILIES, NetworkErrorsSettings, Place, places


def _rises(errors: Sequence[float]) -> bool:
    """Whether an order is no better than the one before it."""
    return any(later >= before for before, later in pairwise(errors))


def _falls(everywhere: Sequence[Place]) -> Finding:
    rising = [place for place in everywhere if _rises([median(column) for column in place.errors("Binomial")])]
    where = f"; not for {', '.join(map(str, rising))}" if rising else ""
    return Finding(
        "The error of the binomial estimator falls with the order L.",
        f"Median over tasks, L = 0 … K − 1: falls at every step at {len(everywhere) - len(rising)} of "
        f"{len(everywhere)} networks and stages{where}.",
        not rising,
    )


def _below(everywhere: Sequence[Place]) -> Finding:
    """Truncated's error over Binomial's, order by order."""
    exceptions: list[str] = []
    last: list[str] = []
    above = total = 0
    for place in everywhere:
        orders = range(1, place.network.num_steps)
        factors = [place.row("Truncated", L)["error"] / place.row("Binomial", L)["error"] for L in orders]
        worse = [order for order, factor in zip(orders, factors, strict=True) if factor <= 1]
        exceptions += [f"{place} (L = {', '.join(map(str, worse))})"] if worse else []
        last.append(f"{place}: {factors[-1]:.2g}")
        above, total = above + len(worse), total + len(factors)
    return Finding(
        "At equal L, Binomial is closer to exact than Truncated.",
        f"At {total - above} of {total} orders"
        + (f"; not for {', '.join(exceptions)}" if exceptions else "")
        + f". Truncated's error over Binomial's at L = K − 1: {'; '.join(last)}.",
        not above,
    )


def overshooting(everywhere: Sequence[Place]) -> list[tuple[float, bool]]:
    """For each task of all networks and stages: K·αλ_max, and whether some order made the error larger."""
    return [
        (steep, any(later > before for before, later in pairwise(course)))
        for place in everywhere
        for steep, *course in zip(place.steepness(), *place.errors("Binomial"), strict=True)
    ]


def _overshoots(settings: NetworkErrorsSettings, everywhere: Sequence[Place]) -> Finding:
    tasks = overshooting(everywhere)
    gentle = [over for steep, over in tasks if steep < settings.gentle]
    between = [over for steep, over in tasks if settings.gentle <= steep <= settings.steep]
    steep = [over for steep, over in tasks if steep > settings.steep]
    counts = [f"{sum(group)} of {len(group)} tasks" for group in (gentle, between, steep)]
    enough = min(len(gentle), len(steep)) >= settings.least_tasks
    held = sum(gentle) < len(gentle) / 2 and sum(steep) > len(steep) / 2
    return Finding(
        f"The plain expansion overshoots once K·αλ_max passes {settings.gentle:g} or {settings.steep:g}.",
        f"Some order made the error larger in {counts[0]} below {settings.gentle:g}, {counts[1]} from there to "
        f"{settings.steep:g}, {counts[2]} above"
        + ("." if enough else f"; fewer than {settings.least_tasks} tasks on one side, so nothing can be said."),
        held if enough else None,
    )


def _learned_center(everywhere: Sequence[Place]) -> Finding:
    gains = [
        place.row("Binomial", order)["error"] / place.row("Binomial-auto", order)["error"]
        for place in everywhere
        for order in range(1, place.network.num_steps)
    ]
    better = sum(gain > 1 for gain in gains)
    return Finding(
        'A center that is learned from the products (center="auto") is closer to exact at the same products.',
        f"At {better} of {len(gains)} orders, networks and stages; plain error over its error: median "
        f"{median(gains):.2g}, from {min(gains):.2g} to {max(gains):.2g}.",
        better == len(gains),
    )


def _cost(untrained: Sequence[Place]) -> Finding:
    by_network: list[str] = []
    cheaper = True
    for place in untrained:
        last = place.network.num_steps
        exact = place.records.one(family="Exact", order=last)
        shares: list[str] = []
        for order in range(1, last):
            binomial = place.row("Binomial", order)
            operations, memory = (binomial[cost] / exact[cost] for cost in ("flops", "peak_bytes"))
            cheaper = cheaper and operations <= 1 and memory <= 1
            shares.append(f"{operations:.2f} and {memory:.2f}")
        by_network.append(f"{place.network.name} {', '.join(shares)}")
    return Finding(
        "An order below K costs less than the exact meta-gradient.",
        "Operations and peak memory of Binomial(L) as shares of those of Exact(), which recomputes, L = 1 … K − 1: "
        f"{'; '.join(by_network)}. Its products wait for one another in L rounds in place of K.",
        cheaper,
    )


_LINES: Mapping[str, tuple[str, str]] = {
    "Truncated": (COLORS["Truncated"], "v"),
    "Binomial": (VARIANTS["plain"], "o"),
    "Binomial-paper": (VARIANTS["paper"], "^"),
    "Binomial-auto": (VARIANTS["auto"], "*"),
}
_STAGES = ("0.7", "0.45", "0.0")


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


class Results(Study[NetworkErrorsSettings]):
    """The half of the study that reads records."""

    def figure(self, settings: NetworkErrorsSettings, records: Records) -> Figure:
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

    def listings(self, settings: NetworkErrorsSettings, records: Records) -> list[Listing]:
        everywhere, quartiles = places(settings, records), "{error:.2g} ({error_25:.1g}, {error_75:.1g})"
        tables = [
            listing(
                f"{network.name}: relative error by order, median (quartiles) over {network.tasks} tasks",
                ("meta-steps", "estimator", "FirstOrder", *(f"L = {order}" for order in range(1, network.num_steps))),
                (
                    (
                        place.stage,
                        words,
                        *map(quartiles.format_map, (place.row(family, L) for L in range(network.num_steps))),
                    )
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

    def findings(self, settings: NetworkErrorsSettings, records: Records) -> list[Finding]:
        everywhere = places(settings, records)
        return [
            _falls(everywhere),
            _below(everywhere),
            _overshoots(settings, everywhere),
            _learned_center(everywhere),
            _cost([places(settings, records, network)[0] for network in settings.networks]),
        ]
