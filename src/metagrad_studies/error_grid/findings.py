"""What error-grid finds: one verdict for each bar."""

import math
from statistics import median

from metagrad_studies.core import Finding, Records, Study
from metagrad_studies.error_grid.records import BINOMIALS, NAMES, Bars, ErrorGridSettings, Grid, Ratios


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


class Judged(Study[ErrorGridSettings]):
    """The part of the study that judges the claims."""

    def findings(self, settings: ErrorGridSettings, records: Records) -> list[Finding]:
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
