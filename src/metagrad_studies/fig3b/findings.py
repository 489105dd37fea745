"""What fig3b finds: the order of the two families, the factor between them, and the bounds."""

import math
from collections.abc import Sequence
from itertools import pairwise

from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Finding
from metagrad_studies.fig3b.records import HEADS, OrderErrorsSettings, draws, gain, gains, mean


def findings(settings: OrderErrorsSettings, records: Records) -> list[Finding]:
    """One for each sentence of the paper, one for the bounds, one for the table of products."""
    return [
        _below(settings, records),
        _small_steps(settings, records),
        _published_factor(settings, records),
        _one_against_four(settings, records),
        _under_bounds(records),
        _agreement(settings, records),
    ]


def _below(settings: OrderErrorsSettings, records: Records) -> Finding:
    pairs = {
        (alpha, order): gain(records, "zero", alpha, order)
        for alpha in settings.alphas
        for order in range(1, settings.num_steps)
    }
    above = sorted({alpha for (alpha, _), factor in pairs.items() if factor <= 1})
    where = f"; not at α = {', '.join(f'{alpha:g}' for alpha in above)}" if above else ""
    small = [factor for (alpha, _), factor in pairs.items() if alpha <= settings.small_alpha]
    batches = settings.batches["zero"] * len(settings.weight_seeds)
    return Finding(
        "BinomMAML significantly reduces the error relative to TruncMAML at every L.",
        f"Mean over {batches} mini-batches: Binomial below Truncated at {sum(f > 1 for f in pairs.values())} of "
        f"{len(pairs)} pairs of α and 1 ≤ L ≤ {settings.num_steps - 1}{where}. Judged at "
        f"α ≤ {settings.small_alpha:g}, where {sum(f > 1 for f in small)} of {len(small)} are below.",
        all(factor > 1 for factor in small),
    )


def _small_steps(settings: OrderErrorsSettings, records: Records) -> Finding:
    last = settings.num_steps - 1
    alphas = [alpha for alpha in settings.alphas if alpha <= settings.small_alpha]
    found = {
        (head, alpha): (gain(records, head, alpha, last), gains(records, head, alpha, last))
        for head in settings.batches
        for alpha in alphas
    }
    told = [
        f"α = {alpha:g}, {HEADS[head]}: {factor:.2g} ({min(singly):.2g} to {max(singly):.2g} by draw of the weights)"
        for (head, alpha), (factor, singly) in found.items()
    ]
    return Finding(
        f"At L = {last} BinomMAML outperforms TruncMAML by an order of 10³ or more, for α ≤ {settings.small_alpha:g}.",
        f"Factor between the mean errors. {'; '.join(told)}.",
        all(factor >= 1e3 for factor, _ in found.values()),
    )


def _published_factor(settings: OrderErrorsSettings, records: Records) -> Finding:
    last = settings.num_steps - 1
    told: list[str] = []
    inside = False
    for head in settings.batches:
        factors = [gain(records, head, alpha, last) for alpha in settings.alphas]
        crossings = [crossing(settings.alphas, factors, level) for level in (1e4, 1e3)]
        ends = [f"α = {at:.2g}" if at is not None else "beyond the grid" for at in crossings]
        told.append(f"{HEADS[head]}: 10⁴ at {ends[0]}, 10³ at {ends[1]}")
        inside = inside or None not in crossings
    return Finding(
        "The factor is 10³ to 10⁴ (at an α that the paper does not state).",
        f"Interpolated in the logarithms. {'; '.join(told)}.",
        inside,
    )


def _one_against_four(settings: OrderErrorsSettings, records: Records) -> Finding:
    last = settings.num_steps - 1
    shares = {
        alpha: mean(draws(records, "zero", alpha, "Binomial", 1))
        / mean(draws(records, "zero", alpha, "Truncated", last))
        for alpha in settings.alphas
    }
    comparable = [alpha for alpha, share in shares.items() if 0.5 <= share <= 2]
    return Finding(
        f"BinomMAML with L = 1 has an error comparable to TruncMAML with L = {last}.",
        "Error of Binomial(1) over that of Truncated("
        f"{last}): {', '.join(f'{share:.2g} at α = {alpha:g}' for alpha, share in shares.items())}. "
        "Within a factor of two at "
        f"{', '.join(f'α = {alpha:g}' for alpha in comparable) or 'no α of the grid'}.",
        bool(comparable),
    )


def _under_bounds(records: Records) -> Finding:
    worst = max(records, key=lambda r: r["of_theorem_3_6"])
    closest = max(records, key=lambda r: r["of_error_bound"])
    tasks = sum(r["bounded_tasks"] for r in records if r["estimator"] == "FirstOrder")
    held = worst["of_theorem_3_6"] <= 1 and closest["of_error_bound"] <= 1

    def name(record: Record) -> str:
        return f"{record['estimator']}, L = {record['order']}, α = {record['alpha']:g}"

    return Finding(
        "Every error lies under its bound.",
        f"{tasks} tasks with measured curvature, every estimator: at most {worst['of_theorem_3_6']:.4f} of theorem "
        f"3.6's bound ({name(worst)}), at most {closest['of_error_bound']:.4f} of `error_bound` ({name(closest)}).",
        held,
    )


def _agreement(settings: OrderErrorsSettings, records: Records) -> Finding:
    apart = max(record["disagreement"] for record in records)
    return Finding(
        "These are the errors of the estimators that users call.",
        f"Largest relative difference between a meta-gradient of the table and that of the estimator: {apart:.1e}.",
        apart <= settings.agreement,
    )


def crossing(alphas: Sequence[float], factors: Sequence[float], level: float) -> float | None:
    """Where a falling curve passes a level, linear between points in both logarithms; None where it does not."""
    for (a, high), (b, low) in pairwise(zip(alphas, factors, strict=True)):
        if high >= level > low:
            share = math.log(high / level) / math.log(high / low)
            return a * (b / a) ** share
    return None
