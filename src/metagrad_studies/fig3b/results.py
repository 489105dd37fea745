"""What fig3b finds: the order of the two families, the factor between them, the bounds; its figure and its tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad.experiments.problems import SinusoidRegression
from metagrad_studies.core import Finding, Listing, Record, Records, Study, listing
from metagrad_studies.core.plots import COLORS, label, legend, order_axis, panels, share_height
from metagrad_studies.core.verdicts import over_seeds
from metagrad_studies.instruments.sinusoid import Head, published_problem

HEADS: Mapping[str, str] = {"zero": "head at zero", "random": "head drawn"}  # Words for where the last layer starts


@dataclass(frozen=True, kw_only=True)
class OrderErrorsSettings:
    """Every number of the study."""

    problem: SinusoidRegression = field(default_factory=published_problem)  # sine waves and network
    num_steps: int = 5  # K
    alphas: tuple[float, ...]  # inner step sizes, ascending
    small_alpha: float = 0.003  # up to where the factor between Truncated and Binomial is judged
    shown_alphas: tuple[float, ...] = (0.001, 0.003, 0.01)  # those with a panel of their own
    weight_seeds: tuple[int, ...] = tuple(range(10))  # of the initial weights; the i-th has tasks of `task_seed` + i
    task_seed: int = 1000
    tasks_per_batch: int = 10
    batches: Mapping[Head, int]  # mini-batches for each draw of the weights, by where the head starts
    bounded_batches: int  # of these, the first ones, on which curvature is measured and errors are held against bounds
    lanczos_iterations: int = 25  # curvature products a link for that
    lanczos_seed: int = 2000  # of its first direction
    agreement: float = 1e-10  # largest relative difference to the estimators themselves that counts as rounding
    tasks_at_once: int = 200  # side by side


def draws(records: Records, family: str, order: int, field: str = "error", **where: Any) -> list[float]:
    """One value for each draw of the weights; order 0 is FirstOrder in both families."""
    return records.where(estimator=family if order else "FirstOrder", order=order, **where).column(field)


def gains(records: Records, order: int, **where: Any) -> list[float]:
    """Error of Truncated over error of Binomial for each draw of the weights."""
    families = (draws(records, family, order, **where) for family in ("Truncated", "Binomial"))
    return [truncated / binomial for truncated, binomial in zip(*families, strict=True)]


def gain(records: Records, order: int, **where: Any) -> float:
    """Error of Truncated over error of Binomial, of the means over all mini-batches."""
    truncated, binomial = (fmean(draws(records, family, order, **where)) for family in ("Truncated", "Binomial"))
    return truncated / binomial


def with_interval(values: Sequence[float]) -> str:
    """Mean ± half of the 95 % interval, in two digits and one."""
    entry = over_seeds(values)
    return f"{entry.mean:.2g}" + ("" if math.isnan(entry.half_width) else f" ± {entry.half_width:.1g}")


def _below(settings: OrderErrorsSettings, records: Records) -> Finding:
    orders = range(1, settings.num_steps)
    pairs = {(alpha, L): gain(records, L, head="zero", alpha=alpha) for alpha in settings.alphas for L in orders}
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
    factors: list[float] = []
    parts: list[str] = []
    for head in settings.batches:
        for alpha in settings.alphas:
            if alpha <= settings.small_alpha:
                singly = gains(records, last, head=head, alpha=alpha)
                factors.append(gain(records, last, head=head, alpha=alpha))
                spread = f"({min(singly):.2g} to {max(singly):.2g} by draw of the weights)"
                parts.append(f"α = {alpha:g}, {HEADS[head]}: {factors[-1]:.2g} {spread}")
    return Finding(
        f"At L = {last} BinomMAML outperforms TruncMAML by an order of 10³ or more, for α ≤ {settings.small_alpha:g}.",
        f"Factor between the mean errors. {'; '.join(parts)}.",
        all(factor >= 1e3 for factor in factors),
    )


def _published_factor(settings: OrderErrorsSettings, records: Records) -> Finding:
    last = settings.num_steps - 1
    parts: list[str] = []
    inside = False
    for head in settings.batches:
        factors = [gain(records, last, head=head, alpha=alpha) for alpha in settings.alphas]
        crossings = [crossing(settings.alphas, factors, level) for level in (1e4, 1e3)]
        ends = [f"α = {at:.2g}" if at is not None else "beyond the grid" for at in crossings]
        parts.append(f"{HEADS[head]}: 10⁴ at {ends[0]}, 10³ at {ends[1]}")
        inside = inside or None not in crossings
    return Finding(
        "The factor is 10³ to 10⁴ (at an α that the paper does not state).",
        f"Interpolated in the logarithms. {'; '.join(parts)}.",
        inside,
    )


def crossing(alphas: Sequence[float], factors: Sequence[float], level: float) -> float | None:
    """Where a falling curve passes a level, linear between points in both logarithms; None where it does not."""
    for (a, high), (b, low) in pairwise(zip(alphas, factors, strict=True)):
        if high >= level > low:
            share = math.log(high / level) / math.log(high / low)
            return a * (b / a) ** share
    return None


def _one_against_four(settings: OrderErrorsSettings, records: Records) -> Finding:
    last = settings.num_steps - 1
    shares: dict[float, float] = {}
    for alpha in settings.alphas:
        here = records.where(head="zero", alpha=alpha)
        shares[alpha] = fmean(draws(here, "Binomial", 1)) / fmean(draws(here, "Truncated", last))
    comparable = [f"α = {alpha:g}" for alpha, share in shares.items() if 0.5 <= share <= 2]
    return Finding(
        f"BinomMAML with L = 1 has an error comparable to TruncMAML with L = {last}.",
        f"Error of Binomial(1) over that of Truncated({last}): "
        f"{', '.join(f'{share:.2g} at α = {alpha:g}' for alpha, share in shares.items())}. "
        f"Within a factor of two at {', '.join(comparable) or 'no α of the grid'}.",
        bool(comparable),
    )


def _under_bounds(records: Records) -> Finding:
    worst = max(records, key=lambda r: r["of_theorem_3_6"])
    closest = max(records, key=lambda r: r["of_error_bound"])
    tasks = sum(records.where(estimator="FirstOrder").column("bounded_tasks"))

    def name(record: Record) -> str:
        return f"{record['estimator']}, L = {record['order']}, α = {record['alpha']:g}"

    return Finding(
        "Every error lies under its bound.",
        f"{tasks} tasks with measured curvature, every estimator: at most {worst['of_theorem_3_6']:.4f} of theorem "
        f"3.6's bound ({name(worst)}), at most {closest['of_error_bound']:.4f} of `error_bound` ({name(closest)}).",
        worst["of_theorem_3_6"] <= 1 and closest["of_error_bound"] <= 1,
    )


def _agreement(settings: OrderErrorsSettings, records: Records) -> Finding:
    apart = max(records.column("disagreement"))
    return Finding(
        "These are the errors of the estimators that users call.",
        f"Largest relative difference between a meta-gradient of the table and that of the estimator: {apart:.1e}.",
        apart <= settings.agreement,
    )


def _draw_orders(axes: Axes, settings: OrderErrorsSettings, here: Records) -> None:
    orders = range(settings.num_steps)
    for family in ("Truncated", "Binomial"):
        errors, color = [draws(here, family, order) for order in orders], COLORS[family]
        axes.fill_between(orders, list(map(min, errors)), list(map(max, errors)), color=color, alpha=0.18, lw=0)
        axes.plot(orders, list(map(fmean, errors)), color=color, marker="o", markersize=4, label=family)
        bounds = [fmean(draws(here, family, order, "bound")) for order in orders]
        axes.plot(orders, bounds, color=color, linestyle="--", linewidth=1, label=f"theorem 3.6, {family}")
    axes.set_yscale("log")
    order_axis(axes, settings.num_steps)


def _draw_factors(axes: Axes, settings: OrderErrorsSettings, records: Records) -> None:
    last, color, alphas = settings.num_steps - 1, COLORS["Binomial"], settings.alphas
    axes.axhspan(1e3, 1e4, color="0.5", alpha=0.2, lw=0, label="the paper's 10³ to 10⁴")
    for head, style in zip(settings.batches, ("-", "--"), strict=False):
        joint = [gain(records, last, head=head, alpha=alpha) for alpha in alphas]
        axes.plot(alphas, joint, style, color=color, marker="o", markersize=4, label=HEADS[head])
        if head == "zero":
            singly = [gains(records, last, head=head, alpha=alpha) for alpha in alphas]
            axes.fill_between(alphas, list(map(min, singly)), list(map(max, singly)), color=color, alpha=0.15, lw=0)
    axes.axhline(1, color="0.6", linewidth=0.8)
    label(axes, "inner step size α", "error of Truncated / error of Binomial", f"L = {last}", log="xy")
    legend(axes)


class Results(Study[OrderErrorsSettings]):
    """The half of the study that reads records."""

    def figure(self, settings: OrderErrorsSettings, records: Records) -> Figure:
        figure, [row] = panels(1, len(settings.shown_alphas) + 1, 15, 3.9)
        for axes, alpha in zip(row[:-1], settings.shown_alphas, strict=True):
            _draw_orders(axes, settings, records.where(head="zero", alpha=alpha))
            axes.set_title(f"α = {alpha:g}, {HEADS['zero']}", fontsize=10)
        share_height(row[:-1])
        row[0].set_ylabel("relative error of a mini-batch's\nmeta-gradient, mean and range over weights")
        legend(row[0], loc="lower left")
        _draw_factors(row[-1], settings, records)
        return figure

    def listings(self, settings: OrderErrorsSettings, records: Records) -> list[Listing]:
        last = settings.num_steps - 1
        errors = [
            (
                f"{alpha:g}",
                order,
                *(with_interval(draws(here, family, order)) for family in ("Truncated", "Binomial")),
                f"{fmean(draws(here, 'Binomial', order, 'bound')):.2g}",
            )
            for alpha in settings.alphas
            for here in [records.where(head="zero", alpha=alpha)]
            for order in range(settings.num_steps)
        ]
        factors = [
            (
                f"{alpha:g}",
                f"{fmean(draws(here, 'Binomial', last, 'curvature')):.3f}",
                HEADS[head],
                f"{gain(here, last):.3g}",
                f"{min(gains(here, last)):.2g} to {max(gains(here, last)):.2g}",
            )
            for head in settings.batches
            for alpha in settings.alphas
            for here in [records.where(head=head, alpha=alpha)]
        ]
        return [
            listing(
                "Relative error of a mini-batch's meta-gradient (head at zero; ± 95 % over weights; L = 0: FirstOrder)",
                ("α", "L", "Truncated", "Binomial", "bound of Binomial (theorem 3.6)"),
                errors,
            ),
            listing(
                f"Error of Truncated({last}) over error of Binomial({last})",
                ("α", "largest ‖αH‖, mean over tasks", "network", "factor of the means", "single draws of weights"),
                factors,
            ),
        ]

    def findings(self, settings: OrderErrorsSettings, records: Records) -> list[Finding]:
        return [
            _below(settings, records),
            _small_steps(settings, records),
            _published_factor(settings, records),
            _one_against_four(settings, records),
            _under_bounds(records),
            _agreement(settings, records),
        ]
