"""What error-vs-order finds."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from metagrad_studies.core.records import Records
from metagrad_studies.core.study import Finding
from metagrad_studies.error_vs_order.records import NetworkErrorsSettings, Place, places


def findings(settings: NetworkErrorsSettings, records: Records) -> list[Finding]:
    """Errors over L, the two families, when the expansion overshoots, what helps then, and what orders cost."""
    everywhere = places(settings, records)
    return [
        _falls(everywhere),
        _below(everywhere),
        _overshoots(settings, everywhere),
        _learned_center(everywhere),
        _cost([places(settings, records, network)[0] for network in settings.networks]),
    ]


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
