"""The figure and the tables of error-grid."""

import math
from collections.abc import Sequence
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from metagrad_studies.grid_findings import delivered, estimates_within
from metagrad_studies.grid_records import (
    BINOMIALS,
    LEARNED,
    NAMES,
    OTHERS,
    ErrorGridSettings,
    Grid,
    GridNetwork,
    Place,
)
from metagrad_studies.study import Listing, Record

_REACH = 3.0
"""Powers of two at which colours end, either way."""


def figure(settings: ErrorGridSettings, records: Sequence[Record]) -> Figure:
    """A map a network: step sizes and stages against K and L."""
    grid = Grid.of(records)
    ratios = grid.over_best(settings.bars)
    columns = 2 if len(settings.networks) > 1 else 1
    rows = math.ceil(len(settings.networks) / columns)
    height = 1.2 + rows * (1.2 + 0.3 * max(sum(k - 2 for k in n.num_steps) for n in settings.networks))
    drawn = Figure(figsize=(5.9 * columns, height), layout="constrained")
    panels: list[Axes] = list(drawn.subplots(rows, columns, squeeze=False).flat)
    image: AxesImage | None = None
    for axes, network in zip(panels, settings.networks, strict=False):
        image = _map(axes, network, {k: v for k, v in ratios.items() if k[0].network == network.name})
    for axes in panels[len(settings.networks) :]:
        axes.set_axis_off()
    if image is not None:
        bar = drawn.colorbar(image, ax=panels, shrink=0.6, ticks=range(-3, 4))
        bar.ax.set_yticklabels([f"{2.0**power:g}" for power in range(-3, 4)])
        bar.set_label(
            'error with center "auto" over\nthe best of plain, scale "paper"\nand Truncated of the same L (1 also\n'
            "where all are exact up to rounding)",
            fontsize=9,
        )
    return drawn


def listings(settings: ErrorGridSettings, records: Sequence[Record]) -> list[Listing]:
    """Ratios by network, what more products buy, estimates of errors, what `Auto` delivers, and every error."""
    grid = Grid.of(records)
    tables = [_ratios(settings, grid), _parallel(settings, grid), _own(settings, grid), _auto(settings, grid)]
    return tables + [_errors(grid, network, steps) for network in settings.networks for steps in network.num_steps]


def _map(axes: Axes, network: GridNetwork, ratios: dict[tuple[Place, int], float]) -> AxesImage:
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


def _ratios(settings: ErrorGridSettings, grid: Grid) -> Listing:
    each = {family: grid.ratios(family, settings.bars) for family in OTHERS}
    best = grid.over_best(settings.bars)
    rows: list[tuple[str, ...]] = []
    for network in settings.networks:
        for steps in network.num_steps:
            keys = [key for key in best if (key[0].network, key[0].num_steps) == (network.name, steps)]
            if not keys:
                continue
            near = sum(best[key] <= settings.bars.of_best for key in keys)
            middle = (f"{median(each[family][key] for key in keys):.2g}" for family in OTHERS)
            rows.append((network.name, str(steps), *middle, f"{near} of {len(keys)}"))
    columns = ("network", "K", *(f"over {NAMES[family]}" for family in OTHERS))
    return Listing(
        'Error with center "auto" over that of others of the same L, 1 < L < K: median over α, stages and L',
        (*columns, f"at most {settings.bars.of_best:g} of the best"),
        tuple(rows),
    )


def _parallel(settings: ErrorGridSettings, grid: Grid) -> Listing:
    rounding = settings.bars.rounding
    rows: list[tuple[str, ...]] = []
    for network in settings.networks:
        for steps in network.num_steps:
            here = [e for place, e in grid.entries.items() if (place.network, place.num_steps) == (network.name, steps)]
            for order in range(2, steps) if here else ():
                pairs = [(entries["Parallel", order], entries["Binomial-auto", order]) for entries in here]
                ratios = [max(one.error, rounding) / max(other.error, rounding) for one, other in pairs]
                ahead, behind = pairs[0]
                rows.append(
                    (
                        network.name,
                        str(steps),
                        str(order),
                        f"{ahead.products} and {behind.products}",
                        f"{median(ratios):.2g}",
                        f"{min(ratios):.2g} to {max(ratios):.2g}",
                    )
                )
    columns = ("network", "K", "rounds", "products of either", "median", "range")
    return Listing(
        'Error of Parallel over that of center "auto" in as many rounds, over α and stages', columns, tuple(rows)
    )


def _own(settings: ErrorGridSettings, grid: Grid) -> Listing:
    rows: list[tuple[str, ...]] = []
    for network in settings.networks:
        here = Grid({place: entries for place, entries in grid.entries.items() if place.network == network.name})
        counted = (estimates_within(settings, here, family) for family in (*BINOMIALS, *LEARNED))
        rows.append((network.name, *(f"{near} of {total}" for near, total in counted)))
    title = (
        f"Estimates of the error within a factor of {settings.bars.within:g} of it (medians over tasks), L = 1 … K − 1"
    )
    return Listing(title, ("network", *(NAMES[family] for family in (*BINOMIALS, *LEARNED))), tuple(rows))


def _auto(settings: ErrorGridSettings, grid: Grid) -> Listing:
    rows = [
        (
            *_place(place),
            f"{delivered(grid, place):.2g}",
            ", ".join(str(one.products) for one in chosen),
            ", ".join(str(one.rounds) for one in chosen),
            str(grid.fewest_rounds(place, settings.bars.tolerance)),
            "; ".join(dict.fromkeys(one.estimator for one in chosen)),
        )
        for place, chosen in grid.chosen.items()
    ]
    return Listing(
        f'estimator="auto", tolerance {settings.bars.tolerance:g}: median error on held-out tasks; products, rounds '
        "and choice by seed",
        (*_PLACE, "error", "products", "rounds", "fewest possible", "chosen"),
        tuple(rows),
    )


_PLACE = ("network", "α", "K", "meta-steps")


def _place(place: Place) -> tuple[str, ...]:
    return place.network, f"{place.alpha:g}", str(place.num_steps), str(place.meta_steps)


def _errors(grid: Grid, network: GridNetwork, steps: int) -> Listing:
    families = ("Truncated", *BINOMIALS, *LEARNED)
    rows = [
        (f"{place.alpha:g}", str(place.meta_steps), NAMES[family], first, *cells)
        for place, here in grid.entries.items()
        if (place.network, place.num_steps) == (network.name, steps)
        for first in [f"{here['FirstOrder', 0].error:.2g}"]
        for family in families
        for cells in [[f"{here[family, order].error:.2g}" for order in range(1, steps)]]
    ]
    orders = (f"L = {order}" for order in range(1, steps))
    title = f"{network.name}, K = {steps}: median relative error of single tasks"
    return Listing(title, ("α", "meta-steps", "estimator", "FirstOrder", *orders), tuple(rows))
