"""The paper's Figure 3a: actual error of a meta-gradient on sine waves, mini-batch by mini-batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from matplotlib.figure import Figure

from metagrad import Binomial, FirstOrder, Truncated
from metagrad.experiments.problems import SinusoidRegression
from metagrad_studies.core import Bench, Cell, Finding, Listing, Record, Records, Request, Study, crossed, listing
from metagrad_studies.core.plots import COLORS, label, legend_below, panels
from metagrad_studies.instruments import sinusoid
from metagrad_studies.instruments.sinusoid import Head
from metagrad_studies.instruments.task_errors import estimates, of_batches, relative

_FAMILIES = ("FirstOrder", "Truncated", "Binomial")


@dataclass(frozen=True, kw_only=True)
class BatchErrorsSettings:
    """Every number of the study."""

    problem: SinusoidRegression = field(default_factory=sinusoid.published_problem)  # sine waves and network
    num_steps: int = 5  # K
    order: int = 4  # L of Truncated and Binomial
    alphas: tuple[float, ...]  # inner step sizes, ascending
    shown_alphas: tuple[float, ...] = (0.003, 0.005, 0.01)  # those with a panel, with the first draw of the weights
    weight_seeds: tuple[int, ...]  # of the initial weights; every draw meets the same mini-batches
    task_seed: int = 3000
    batches: int = 200  # mini-batches
    tasks_per_batch: int = 10
    head: Head = "zero"  # where the last layer starts
    tasks_at_once: int = 200  # side by side


class BatchErrors(Study[BatchErrorsSettings]):
    """Errors of FirstOrder, Truncated and Binomial on each mini-batch."""

    name: ClassVar[str] = "fig3a"
    tiny: ClassVar[bool] = True
    title: ClassVar[str] = "Actual error of the meta-gradient over mini-batches, on sine waves"
    source: ClassVar[str] = "BinomGBML (arXiv 2604.13263), Figure 3a"
    tiny: ClassVar[bool] = True
    choices: ClassVar[tuple[str, ...]] = (
        "The paper does not state the inner step size α: we take a grid. fig3b says where the published factor "
        "appears.",
        "The paper states the number of tasks of a mini-batch for Figure 3b only: 10 here too.",
        *sinusoid.CHOICES,
    )

    def settings(self, request: Request) -> BatchErrorsSettings:
        full = request.scale == "full"
        alphas = (0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02) if full else (0.001, 0.003, 0.005, 0.01)
        return BatchErrorsSettings(alphas=alphas, weight_seeds=tuple(range(10 if full else 3)))

    def cells(self, settings: BatchErrorsSettings) -> Sequence[Cell]:
        return crossed("alpha={alpha:g}_weights={weights}", alpha=settings.alphas, weights=settings.weight_seeds)

    def measure(self, settings: BatchErrorsSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        alpha, seed, count = cell.values["alpha"], cell.values["weights"], settings.tasks_per_batch
        loop, meta = sinusoid.start(settings.problem, settings.head, alpha, settings.num_steps, seed)
        tasks = sinusoid.draw(settings.problem, settings.batches * count, settings.task_seed)
        estimators = [FirstOrder(), Truncated(settings.order), Binomial(settings.order)]
        gradients = estimates(loop, estimators, meta, tasks, settings.tasks_at_once)
        exact = of_batches(gradients.exact, count)
        errors = [relative(of_batches(each, count), exact).tolist() for each in gradients.others.values()]
        rows = enumerate(zip(*errors, strict=True))
        return [{"batch": batch, **dict(zip(_FAMILIES, row, strict=True))} for batch, row in rows]

    def figure(self, settings: BatchErrorsSettings, records: Records) -> Figure:
        figure, [row] = panels(1, len(settings.shown_alphas), 13, 3.8, sharey=True)
        for axes, alpha in zip(row, settings.shown_alphas, strict=True):
            here = records.where(alpha=alpha, weights=settings.weight_seeds[0])
            for family in _FAMILIES:
                words = family if family == "FirstOrder" else f"{family}({settings.order})"
                axes.plot(here.column("batch"), here.column(family), color=COLORS[family], lw=0.9, label=words)
            label(axes, "mini-batch", title=f"α = {alpha:g}", log="y")
        row[0].set_ylabel("relative error of the\nmini-batch's meta-gradient")
        legend_below(figure, row[0], 3)
        return figure

    def listings(self, settings: BatchErrorsSettings, records: Records) -> Sequence[Listing]:
        rows: list[tuple[object, ...]] = []
        for alpha in settings.alphas:
            for seed in settings.weight_seeds:
                here = records.where(alpha=alpha, weights=seed)
                factors = _factors(here)
                low, middle, high = np.quantile(factors, [0.025, 0.5, 0.975])
                medians = (f"{np.median(here.column(family)):.2g}" for family in _FAMILIES)
                spread = f"{middle:.2g} ({low:.2g} to {high:.2g})"
                rows.append((f"{alpha:g}", seed, *medians, spread, f"{sum(f > 1 for f in factors)} of {len(here)}"))
        return [
            listing(
                f"Median over mini-batches of the relative error, L = {settings.order}; Truncated over Binomial, "
                "median (2.5 to 97.5 %)",
                ("α", "weights", *_FAMILIES, "factor", "Binomial below Truncated"),
                rows,
            )
        ]

    def findings(self, settings: BatchErrorsSettings, records: Records) -> Sequence[Finding]:
        draws = len(settings.weight_seeds)
        everywhere: dict[float, int] = {}  # draws of the weights in which Binomial is below on every mini-batch
        medians: dict[float, float] = {}
        shares: list[str] = []
        for alpha in settings.alphas:
            by_draw = [_factors(records.where(alpha=alpha, weights=seed)) for seed in settings.weight_seeds]
            everywhere[alpha] = sum(min(factors) > 1 for factors in by_draw)
            factors = [factor for each in by_draw for factor in each]
            medians[alpha] = float(np.median(factors))
            inside = sum(1e3 <= factor <= 1e4 for factor in factors) / len(factors)
            shares.append(f"α = {alpha:g}: {medians[alpha]:.2g} ({inside:.0%} of the mini-batches inside)")
        by_alpha = (f"α = {alpha:g} in {count} of {draws} draws of the weights" for alpha, count in everywhere.items())
        return [
            Finding(
                f"With L = {settings.order}, BinomMAML consistently outperforms TruncMAML on varying tasks.",
                f"Binomial below Truncated on every one of {settings.batches} mini-batches: {', '.join(by_alpha)}.",
                draws in everywhere.values(),
            ),
            Finding(
                "By an order of 10³ to 10⁴ (at an α that the paper does not state).",
                f"Median factor: {', '.join(shares)}.",
                any(1e3 <= middle <= 1e4 for middle in medians.values()),
            ),
        ]


def _factors(records: Records) -> list[float]:
    """Error of Truncated over error of Binomial, mini-batch by mini-batch."""
    return [r["Truncated"] / r["Binomial"] for r in records]


STUDY = BatchErrors()
