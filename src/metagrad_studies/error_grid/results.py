"""What error-grid finds, one verdict for each bar; its figure and its tables."""

import math
from collections.abc import Iterator
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from metagrad_studies.core import Finding, Listing, Records, Study, listing
from metagrad_studies.core.plots import panels
from metagrad_studies.error_grid.records import BINOMIALS, NAMES, OTHERS, Bars, Grid, GridNetwork, GridSettings, Ratios
from metagrad_studies.error_vs_order.records import LEARNED


def _at_most(other: str, ratios: Ratios, most: float) -> Finding:
    claim = f'The error with center "auto" is at most {most:g} of that of {other}: median over the grid, 1 < L < K.'
    if not ratios:
        return Finding(claim, "No cell of the grid qualifies.", None)
    networks = dict.fromkeys(place.network for place, _ in ratios)
    each = {name: median(r for (place, _), r in ratios.items() if place.network == name) for name in networks}
    by_network = ", ".join(f"{name} {value:.2g}" for name, value in each.items())
    middle = median(ratios.values())
    return Finding(claim, f"Median {middle:.2g} of {len(ratios)} cells and orders: {by_network}.", middle <= most)


def _near_best(bars: Bars, grid: Grid) -> Finding:
    claim = (
        f'The error with center "auto" is at most {bars.of_best:g} times the best of plain, scale "paper" and '
        f"Truncated of the same L in {bars.nearly_all:.0%} of the grid."
    )
    ratios = grid.over_best(bars)
    if not ratios:
        return Finding(claim, "No cell of the grid qualifies.", None)
    worse = {key: ratio for key, ratio in ratios.items() if ratio > bars.of_best}
    share = 1 - len(worse) / len(ratios)
    worst = sorted(worse, key=lambda key: -worse[key])[:3]
    examples = "; ".join(f"{worse[key]:.2g} times at {key[0]}, L = {key[1]}" for key in worst)
    return Finding(
        claim,
        f"In {share:.1%} of {len(ratios)} cells and orders; no worse than the best in "
        f"{sum(ratio <= 1 for ratio in ratios.values()) / len(ratios):.1%}."
        + (f" Worst: {examples}." if worst else ""),
        share >= bars.nearly_all,
    )


def _estimates(bars: Bars, grid: Grid) -> Finding:
    near, total = grid.estimates_within(bars, BINOMIALS)
    near_useful, total_useful = grid.estimates_within(bars, BINOMIALS, most=1.0)
    claim = (
        f"The estimate of its own error that Binomial reports is within a factor of {bars.within:g} of the error in "
        f"{bars.nearly_all:.0%} of the grid."
    )
    if not total:
        return Finding(claim, "No cell of the grid has an error above rounding.", None)
    counted = {family: grid.estimates_within(bars, [family]) for family in BINOMIALS}
    by_family = ", ".join(f"{NAMES[family]} {n / most:.0%} of {most}" for family, (n, most) in counted.items() if most)
    return Finding(
        claim,
        f"Median over tasks of the ratio, L = 1 … K − 1: in {near / total:.1%} of {total} cells and orders "
        f"({by_family}); where the error is at most 1, in {near_useful} of {total_useful}.",
        near / total >= bars.nearly_all,
    )


def _tolerance(bars: Bars, grid: Grid) -> Finding:
    errors = {place: grid.delivered(place) for place in grid.chosen}
    missed = {place: error for place, error in errors.items() if not error <= bars.tolerance}
    dear = [place for place, each in grid.chosen.items() if any(one.products > place.num_steps for one in each)]
    where = "; ".join(f"{error:.2g} at {place}" for place, error in missed.items())
    largest = max(errors.values(), default=math.nan)
    return Finding(
        f'estimator="auto" with tolerance {bars.tolerance:g} delivers a median error of at most {bars.tolerance:g} in '
        "every cell, at no more products than Exact.",
        f"In {len(errors) - len(missed)} of {len(errors)} cells, largest {largest:.2g}; more products in {len(dear)}."
        + (f" Missed: {where}." if missed else ""),
        not missed and not dear,
    )


def _rounds(bars: Bars, grid: Grid) -> Finding:
    fewest = {place: grid.fewest_rounds(place, bars.tolerance) for place in grid.chosen}
    possible = {place: rounds for place, rounds in fewest.items() if rounds < place.num_steps}
    missed = [place for place in possible if max(one.rounds for one in grid.chosen[place]) >= place.num_steps]
    claim = 'estimator="auto" takes fewer rounds than Exact wherever a fixed estimator could, at no more products.'
    if not possible:
        return Finding(claim, "No cell of the grid has such an estimator.", None)
    spent = sum(median(one.rounds for one in grid.chosen[place]) for place in possible)
    least, exact = sum(possible.values()), sum(place.num_steps for place in possible)
    return Finding(
        claim,
        f"A fixed estimator could in {len(possible)} of {len(grid.chosen)} cells; `Auto` does in "
        f"{len(possible) - len(missed)} of these: {spent:g} rounds in all where Exact has {exact} and the best fixed "
        f"estimators in hindsight {least}." + (f" Not in: {'; '.join(map(str, missed))}." if missed else ""),
        not missed,
    )


_REACH = 3  # Powers of two at which colours end, either way

_PLACE = ("network", "α", "K", "meta-steps")


def _map(axes: Axes, network: GridNetwork, ratios: Ratios) -> AxesImage:
    across = [(alpha, stage) for alpha in network.alphas for stage in network.stages]
    down = [(steps, order) for steps in network.num_steps for order in range(2, steps)]
    values = np.full((len(down), len(across)), np.nan)
    for (place, order), ratio in ratios.items():
        at = down.index((place.num_steps, order)), across.index((place.alpha, place.meta_steps))
        values[at] = math.log2(min(max(ratio, 2.0**-20), 2.0**20))
        ink = "1" if abs(values[at]) > _REACH / 2 else "0"
        axes.text(at[1], at[0], f"{ratio:.2g}", ha="center", va="center", fontsize=7, color=ink)
    image = axes.imshow(values, cmap="RdBu_r", norm=TwoSlopeNorm(0.0, -_REACH, _REACH), aspect="auto")
    axes.set_xticks(range(len(across)), [str(stage) for _, stage in across], fontsize=8)
    axes.set_yticks(range(len(down)), [f"K = {steps}, L = {order}" for steps, order in down], fontsize=8)
    for i in range(1, len(network.alphas)):
        axes.axvline(i * len(network.stages) - 0.5, color="1", linewidth=3)
    alphas = ", ".join(f"{alpha:g}" for alpha in network.alphas)
    axes.set_xlabel(f"meta-steps of training, at α = {alphas}", fontsize=9)
    axes.set_title(network.name, fontsize=10)
    return image


def _sizes(settings: GridSettings) -> Iterator[tuple[str, int]]:
    """Every network with each of its K."""
    return ((network.name, steps) for network in settings.networks for steps in network.num_steps)


def _ratios(settings: GridSettings, grid: Grid) -> Listing:
    bars = settings.bars
    rows: list[tuple[object, ...]] = []
    for name, steps in _sizes(settings):
        here = grid.at(name, steps)
        best = here.over_best(bars)
        if best:
            middle = (f"{median(here.ratios(bars, family).values()):.2g}" for family in OTHERS)
            near = sum(ratio <= bars.of_best for ratio in best.values())
            rows.append((name, steps, *middle, f"{near} of {len(best)}"))
    return listing(
        'Error with center "auto" over that of others of the same L, 1 < L < K: median over α, stages and L',
        ("network", "K", *(f"over {NAMES[f]}" for f in OTHERS), f"at most {bars.of_best:g} of the best"),
        rows,
    )


def _parallel(settings: GridSettings, grid: Grid) -> Listing:
    rows: list[tuple[object, ...]] = []
    for name, steps in _sizes(settings):
        here = grid.at(name, steps)
        each = here.ratios(settings.bars, "Binomial-auto", against="Parallel")
        for order in range(2, steps) if each else ():
            ratios = [ratio for (_, at), ratio in each.items() if at == order]
            [costs, *_] = here.entries.values()
            products = f"{costs['Parallel', order].products} and {costs['Binomial-auto', order].products}"
            spread = f"{min(ratios):.2g} to {max(ratios):.2g}"
            rows.append((name, steps, order, products, f"{median(ratios):.2g}", spread))
    return listing(
        'Error of Parallel over that of center "auto" in as many rounds, over α and stages',
        ("network", "K", "rounds", "products of either", "median", "range"),
        rows,
    )


def _own(settings: GridSettings, grid: Grid) -> Listing:
    families = (*BINOMIALS, *LEARNED)
    rows: list[tuple[str, ...]] = []
    for network in settings.networks:
        counted = (grid.at(network.name).estimates_within(settings.bars, [family]) for family in families)
        rows.append((network.name, *(f"{near} of {total}" for near, total in counted)))
    return listing(
        f"Estimates of the error within a factor of {settings.bars.within:g} of it (medians over tasks), L = 1 … K − 1",
        ("network", *(NAMES[family] for family in families)),
        rows,
    )


def _auto(settings: GridSettings, grid: Grid) -> Listing:
    tolerance = settings.bars.tolerance
    rows = [
        (
            place.network,
            f"{place.alpha:g}",
            place.num_steps,
            place.meta_steps,
            f"{grid.delivered(place):.2g}",
            ", ".join(str(one.products) for one in chosen),
            ", ".join(str(one.rounds) for one in chosen),
            grid.fewest_rounds(place, tolerance),
            "; ".join(dict.fromkeys(one.estimator for one in chosen)),
        )
        for place, chosen in grid.chosen.items()
    ]
    return listing(
        f'estimator="auto", tolerance {tolerance:g}: median error on held-out tasks; products, rounds and choice by '
        "seed",
        (*_PLACE, "error", "products", "rounds", "fewest possible", "chosen"),
        rows,
    )


def _errors(here: Grid, network: str, steps: int) -> Listing:
    rows = [
        (
            f"{place.alpha:g}",
            place.meta_steps,
            NAMES[family],
            f"{entries['FirstOrder', 0].error:.2g}",
            *(f"{entries[family, order].error:.2g}" for order in range(1, steps)),
        )
        for place, entries in here.entries.items()
        for family in ("Truncated", *BINOMIALS, *LEARNED)
    ]
    orders = (f"L = {order}" for order in range(1, steps))
    return listing(
        f"{network}, K = {steps}: median relative error of single tasks",
        ("α", "meta-steps", "estimator", "FirstOrder", *orders),
        rows,
    )


class Results(Study[GridSettings]):
    """The half of the study that reads records."""

    def findings(self, settings: GridSettings, records: Records) -> list[Finding]:
        grid, bars = Grid.of(records), settings.bars
        plain = {
            (place, order): ratio
            for (place, order), ratio in grid.ratios(bars, "Binomial").items()
            if grid.entries[place]["Binomial", order].error > bars.plain_above
        }
        return [
            _at_most(f"plain Binomial where that is above {bars.plain_above:g}", plain, bars.of_plain),
            _at_most("Truncated", grid.ratios(bars, "Truncated"), bars.of_truncated),
            _at_most('Binomial with scale "paper"', grid.ratios(bars, "Binomial-paper"), bars.of_paper),
            _near_best(bars, grid),
            _estimates(bars, grid),
            _tolerance(bars, grid),
            _rounds(bars, grid),
        ]

    def figure(self, settings: GridSettings, records: Records) -> Figure:
        grid, networks = Grid.of(records), settings.networks
        ratios = grid.over_best(settings.bars)
        columns = min(len(networks), 2)
        rows = math.ceil(len(networks) / columns)
        height = 1.2 + rows * (1.2 + 0.3 * max(sum(k - 2 for k in network.num_steps) for network in networks))
        drawn, grid_of_axes = panels(rows, columns, 5.9 * columns, height)
        every = [axes for row in grid_of_axes for axes in row]
        image: AxesImage | None = None
        for axes, network in zip(every, networks, strict=False):
            image = _map(axes, network, {k: v for k, v in ratios.items() if k[0].network == network.name})
        for axes in every[len(networks) :]:
            axes.set_axis_off()
        if image is not None:
            powers = range(-_REACH, _REACH + 1)
            bar = drawn.colorbar(image, ax=every, shrink=0.6, ticks=powers)
            bar.ax.set_yticklabels([f"{2.0**power:g}" for power in powers])
            bar.set_label(
                'error with center "auto" over\nthe best of plain, scale "paper"\nand Truncated of the same L (1 also\n'
                "where all are exact up to rounding)",
                fontsize=9,
            )
        return drawn

    def listings(self, settings: GridSettings, records: Records) -> list[Listing]:
        grid = Grid.of(records)
        tables = [_ratios(settings, grid), _parallel(settings, grid), _own(settings, grid), _auto(settings, grid)]
        return tables + [_errors(grid.at(name, steps), name, steps) for name, steps in _sizes(settings)]
