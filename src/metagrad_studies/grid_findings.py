"""What error-grid finds: one verdict for each bar."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from metagrad_studies.grid_records import BINOMIALS, ErrorGridSettings, Grid, Place
from metagrad_studies.network_records import FAMILIES
from metagrad_studies.study import Finding, Record


def findings(settings: ErrorGridSettings, records: Sequence[Record]) -> list[Finding]:
    """Center "auto" against each of the three others and the best of them, estimates of errors, and `Auto`."""
    grid, bars = Grid.of(records), settings.bars
    plain = {
        (place, order): ratio
        for (place, order), ratio in grid.ratios("Binomial", bars).items()
        if grid.entries[place]["Binomial", order].error > bars.plain_above
    }
    return [
        _at_most(f"plain Binomial where that is above {bars.plain_above:g}", plain, bars.of_plain),
        _at_most("Truncated", grid.ratios("Truncated", bars), bars.of_truncated),
        _at_most('Binomial with scale "paper"', grid.ratios("Binomial-paper", bars), bars.of_paper),
        _near_best(settings, grid),
        _estimates(settings, grid),
        _tolerance(settings, grid),
        _rounds(settings, grid),
    ]


def named(place: Place) -> str:
    """In words."""
    return f"{place.network}, α = {place.alpha:g}, K = {place.num_steps}, {place.meta_steps} meta-steps"


def _at_most(other: str, ratios: Mapping[tuple[Place, int], float], most: float) -> Finding:
    claim = f'The error with center "auto" is at most {most:g} of that of {other}: median over the grid, 1 < L < K.'
    if not ratios:
        return Finding(claim, "No cell of the grid says anything of it.", None)
    each = {name: median(r for (place, _), r in ratios.items() if place.network == name) for name in _networks(ratios)}
    told = ", ".join(f"{name} {value:.2g}" for name, value in each.items())
    middle = median(ratios.values())
    return Finding(claim, f"Median {middle:.2g} of {len(ratios)} cells and orders: {told}.", middle <= most)


def _networks(ratios: Mapping[tuple[Place, int], float]) -> list[str]:
    return list(dict.fromkeys(place.network for place, _ in ratios))


def _near_best(settings: ErrorGridSettings, grid: Grid) -> Finding:
    bars = settings.bars
    claim = (
        f'The error with center "auto" is at most {bars.of_best:g} times the best of plain, scale "paper" and '
        f"Truncated of the same L in {bars.nearly_all:.0%} of the grid."
    )
    ratios = grid.over_best(bars)
    if not ratios:
        return Finding(claim, "No cell of the grid says anything of it.", None)
    worse = {key: ratio for key, ratio in ratios.items() if ratio > bars.of_best}
    share = 1 - len(worse) / len(ratios)
    worst = sorted(worse, key=lambda key: -worse[key])[:3]
    told = "; ".join(f"{worse[key]:.2g} times at {named(key[0])}, L = {key[1]}" for key in worst)
    return Finding(
        claim,
        f"In {share:.1%} of {len(ratios)} cells and orders; no worse than the best in "
        f"{sum(ratio <= 1 for ratio in ratios.values()) / len(ratios):.1%}." + (f" Worst: {told}." if worst else ""),
        share >= bars.nearly_all,
    )


def estimates_within(settings: ErrorGridSettings, grid: Grid, family: str, most: float = math.inf) -> tuple[int, int]:
    """Of one family, where its error is above rounding, at `most`: how many estimates are near it, and of how many."""
    ratios = [
        entry.own_over_measured
        for here in grid.entries.values()
        for (name, _), entry in here.items()
        if name == family and settings.bars.rounding < entry.error <= most
    ]
    near = sum(1 / settings.bars.within <= ratio <= settings.bars.within for ratio in ratios)
    return near, len(ratios)


def _estimates(settings: ErrorGridSettings, grid: Grid) -> Finding:
    bars = settings.bars
    counted = {family: estimates_within(settings, grid, family) for family in BINOMIALS}
    near, total = map(sum, zip(*counted.values(), strict=True))
    useful = (estimates_within(settings, grid, family, most=1.0) for family in BINOMIALS)
    near_useful, total_useful = map(sum, zip(*useful, strict=True))
    told = ", ".join(f"{FAMILIES[family]} {n / most:.0%} of {most}" for family, (n, most) in counted.items() if most)
    claim = (
        f"The estimate of its own error that Binomial reports is within a factor of {bars.within:g} of the error in "
        f"{bars.nearly_all:.0%} of the grid."
    )
    if not total:
        return Finding(claim, "No cell of the grid has an error above rounding.", None)
    return Finding(
        claim,
        f"Median over tasks of the ratio, L = 1 … K − 1: in {near / total:.1%} of {total} cells and orders ({told}); "
        f"where the error is at most 1, in {near_useful} of {total_useful}.",
        near / total >= bars.nearly_all,
    )


def delivered(grid: Grid, place: Place) -> float:
    """Median error of what `Auto` chose, over the tasks of all seeds."""
    return median(error for chosen in grid.chosen[place] for error in chosen.errors)


def _tolerance(settings: ErrorGridSettings, grid: Grid) -> Finding:
    tolerance = settings.bars.tolerance
    errors = {place: delivered(grid, place) for place in grid.chosen}
    missed = {place: error for place, error in errors.items() if not error <= tolerance}
    dear = [place for place, each in grid.chosen.items() if any(one.products > place.num_steps for one in each)]
    told = "; ".join(f"{error:.2g} at {named(place)}" for place, error in missed.items())
    largest = max(errors.values(), default=math.nan)
    return Finding(
        f'estimator="auto" with tolerance {tolerance:g} delivers a median error of at most {tolerance:g} in every '
        "cell, at no more products than Exact.",
        f"In {len(errors) - len(missed)} of {len(errors)} cells, largest {largest:.2g}; more products in {len(dear)}."
        + (f" Missed: {told}." if missed else ""),
        not missed and not dear,
    )


def _rounds(settings: ErrorGridSettings, grid: Grid) -> Finding:
    possible = {
        place: fewest
        for place in grid.chosen
        if (fewest := grid.fewest_rounds(place, settings.bars.tolerance)) < place.num_steps
    }
    fewer = [place for place in possible if max(one.rounds for one in grid.chosen[place]) < place.num_steps]
    spent = sum(median(one.rounds for one in grid.chosen[place]) for place in possible)
    claim = 'estimator="auto" takes fewer rounds than Exact wherever a fixed estimator could, at no more products.'
    if not possible:
        return Finding(claim, "No cell of the grid has such an estimator.", None)
    least, exact = sum(possible.values()), sum(place.num_steps for place in possible)
    missed = "; ".join(named(place) for place in possible if place not in fewer)
    return Finding(
        claim,
        f"One could in {len(possible)} of {len(grid.chosen)} cells; `Auto` does in {len(fewer)} of these: {spent:g} "
        f"rounds in all where Exact has {exact} and the best fixed estimators in hindsight {least}."
        + (f" Not in: {missed}." if missed else ""),
        len(fewer) == len(possible),
    )
