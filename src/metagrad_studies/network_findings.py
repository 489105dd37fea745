"""What error-vs-order finds."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from metagrad_studies.network_records import Network, NetworkErrorsSettings, errors, row, steepness, steps
from metagrad_studies.study import Finding, Record


def findings(settings: NetworkErrorsSettings, records: Sequence[Record]) -> list[Finding]:
    """Errors over L, the two families, when the expansion overshoots, what helps then, and what orders cost."""
    return [
        _falls(settings, records),
        _below(settings, records),
        _overshoots(settings, records),
        _learned_center(settings, records),
        _cost(settings, records),
    ]


def _stages(settings: NetworkErrorsSettings) -> list[tuple[Network, int]]:
    return [(network, stage) for network in settings.networks for stage in network.stages]


def _place(network: Network, stage: int) -> str:
    return f"{network.name} after {stage} meta-steps"


def _falls(settings: NetworkErrorsSettings, records: Sequence[Record]) -> Finding:
    rising: list[str] = []
    for network, stage in _stages(settings):
        medians = [median(column) for column in errors(records, network, stage, "Binomial")]
        if any(later >= before for before, later in pairwise(medians)):
            rising.append(_place(network, stage))
    total = len(_stages(settings))
    where = f"; not for {', '.join(rising)}" if rising else ""
    return Finding(
        "The error of the binomial estimator falls with the order L.",
        f"Median over tasks, L = 0 … K − 1: falls at every step at {total - len(rising)} of {total} networks and "
        f"stages{where}.",
        not rising,
    )


def _below(settings: NetworkErrorsSettings, records: Sequence[Record]) -> Finding:
    factors = {
        (network.name, stage, order): row(records, network.name, stage, "Truncated", order)["error"]
        / row(records, network.name, stage, "Binomial", order)["error"]
        for network, stage in _stages(settings)
        for order in range(1, steps(network))
    }
    above = [key for key, factor in factors.items() if factor <= 1]
    places = [
        f"{_place(network, stage)} (L = {', '.join(map(str, orders))})"
        for network, stage in _stages(settings)
        if (orders := [order for (name, at, order) in above if (name, at) == (network.name, stage)])
    ]
    told = [
        f"{_place(network, stage)}: {factors[network.name, stage, steps(network) - 1]:.2g}"
        for network, stage in _stages(settings)
    ]
    return Finding(
        "At equal L, Binomial is closer to exact than Truncated.",
        f"At {len(factors) - len(above)} of {len(factors)} orders"
        + (f"; not for {', '.join(places)}" if places else "")
        + f". Truncated's error over Binomial's at L = K − 1: {'; '.join(told)}.",
        not above,
    )


def overshooting(settings: NetworkErrorsSettings, records: Sequence[Record]) -> list[tuple[float, bool]]:
    """For each task of all networks and stages: K·αλ_max, and whether some order made the error larger."""
    found: list[tuple[float, bool]] = []
    for network, stage in _stages(settings):
        columns = errors(records, network, stage, "Binomial")
        for t, steep in enumerate(steepness(records, network, stage)):
            course = [column[t] for column in columns]
            found.append((steep, any(later > before for before, later in pairwise(course))))
    return found


def _overshoots(settings: NetworkErrorsSettings, records: Sequence[Record]) -> Finding:
    tasks = overshooting(settings, records)
    gentle = [over for steep, over in tasks if steep < settings.gentle]
    between = [over for steep, over in tasks if settings.gentle <= steep <= settings.steep]
    steep = [over for steep, over in tasks if steep > settings.steep]

    def told(group: Sequence[bool]) -> str:
        return f"{sum(group)} of {len(group)} tasks"

    enough = min(len(gentle), len(steep)) >= settings.least_tasks
    held = sum(gentle) < len(gentle) / 2 and sum(steep) > len(steep) / 2
    return Finding(
        f"The plain expansion overshoots once K·αλ_max passes {settings.gentle:g} or {settings.steep:g}.",
        f"Some order made the error larger in {told(gentle)} below {settings.gentle:g}, {told(between)} from there to "
        f"{settings.steep:g}, {told(steep)} above"
        + ("." if enough else f"; fewer than {settings.least_tasks} tasks on one side, so nothing can be said."),
        held if enough else None,
    )


def _learned_center(settings: NetworkErrorsSettings, records: Sequence[Record]) -> Finding:
    pairs = {
        (network.name, stage, order): (
            row(records, network.name, stage, "Binomial", order)["error"],
            row(records, network.name, stage, "Binomial-auto", order)["error"],
        )
        for network, stage in _stages(settings)
        for order in range(1, steps(network))
    }
    better = sum(auto < plain for plain, auto in pairs.values())
    gains = [plain / auto for plain, auto in pairs.values()]
    return Finding(
        'A center that is learned from the products (center="auto") is closer to exact at the same products.',
        f"At {better} of {len(pairs)} orders, networks and stages; plain error over its error: median "
        f"{median(gains):.2g}, from {min(gains):.2g} to {max(gains):.2g}.",
        better == len(pairs),
    )


def _cost(settings: NetworkErrorsSettings, records: Sequence[Record]) -> Finding:
    told: list[str] = []
    cheaper = True
    for network in settings.networks:
        stage, last = network.stages[0], steps(network)
        exact = row(records, network.name, stage, "Exact", last)
        shares: list[str] = []
        for order in range(1, last):
            found = row(records, network.name, stage, "Binomial", order)
            operations, memory = found["flops"] / exact["flops"], found["peak_bytes"] / exact["peak_bytes"]
            cheaper = cheaper and operations <= 1 and memory <= 1
            shares.append(f"{operations:.2f} and {memory:.2f}")
        told.append(f"{network.name} {', '.join(shares)}")
    return Finding(
        "An order below K costs less than the exact meta-gradient.",
        "Operations and peak memory of Binomial(L) as shares of those of Exact(), which recomputes, L = 1 … K − 1: "
        f"{'; '.join(told)}. Its products wait for one another in L rounds in place of K.",
        cheaper,
    )
