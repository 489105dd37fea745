"""The paper's Figure 3a: actual error of a meta-gradient on sine waves, mini-batch by mini-batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from matplotlib.figure import Figure

from metagrad.estimators import Binomial, FirstOrder, Truncated
from metagrad.estimators.base import Pullback
from metagrad.experiments.problems import SinusoidRegression
from metagrad_studies.core.plots import COLORS
from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Bench, Cell, Finding, Listing, Request, Study
from metagrad_studies.instruments import sinusoid
from metagrad_studies.instruments.sinusoid import Head
from metagrad_studies.instruments.task_errors import estimates, of_batches, relative

_FAMILIES = ("FirstOrder", "Truncated", "Binomial")


@dataclass(frozen=True)
class BatchErrorsSettings:
    """Every number of the study.

    Args:
        problem: sine waves and network.
        num_steps: K.
        order: L of Truncated and Binomial.
        alphas: inner step sizes, ascending.
        shown_alphas: those with a panel of their own, with the first draw of the weights.
        weight_seeds: of the initial weights; every draw meets the same mini-batches.
        task_seed: of the tasks.
        batches: mini-batches.
        tasks_per_batch: tasks of one.
        head: where the last layer starts.
        tasks_at_once: tasks side by side.
    """

    problem: SinusoidRegression
    num_steps: int
    order: int
    alphas: tuple[float, ...]
    shown_alphas: tuple[float, ...]
    weight_seeds: tuple[int, ...]
    task_seed: int
    batches: int
    tasks_per_batch: int
    head: Head
    tasks_at_once: int

    def estimators(self) -> list[Pullback]:
        """Those of the figure."""
        return [FirstOrder(), Truncated(self.order), Binomial(self.order)]


class BatchErrors(Study[BatchErrorsSettings]):
    """Errors of FirstOrder, Truncated and Binomial on each mini-batch."""

    name: ClassVar[str] = "fig3a"
    tiny: ClassVar[bool] = True
    title: ClassVar[str] = "Actual error of the meta-gradient over mini-batches, on sine waves"
    source: ClassVar[str] = "BinomGBML (arXiv 2604.13263), Figure 3a"
    choices: ClassVar[tuple[str, ...]] = (
        "The inner step size α is not stated: a grid of them. fig3b says where the published factor appears.",
        "The number of tasks of a mini-batch is stated for Figure 3b only: 10 here too.",
        *sinusoid.CHOICES,
    )

    def settings(self, request: Request) -> BatchErrorsSettings:
        """200 mini-batches of 10 tasks; "full" has more step sizes and draws of the weights."""
        full = request.scale == "full"
        return BatchErrorsSettings(
            problem=sinusoid.published_problem(),
            num_steps=5,
            order=4,
            alphas=(0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02) if full else (0.001, 0.003, 0.005, 0.01),
            shown_alphas=(0.003, 0.005, 0.01),
            weight_seeds=tuple(range(10 if full else 3)),
            task_seed=3000,
            batches=200,
            tasks_per_batch=10,
            head="zero",
            tasks_at_once=200,
        )

    def cells(self, settings: BatchErrorsSettings) -> Sequence[Cell]:
        """One for each step size and draw of the weights."""
        return [
            Cell(f"alpha={alpha:g}_weights={seed}", {"alpha": alpha, "weights": seed})
            for alpha in settings.alphas
            for seed in settings.weight_seeds
        ]

    def measure(self, settings: BatchErrorsSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """A record for each mini-batch."""
        loop, meta = sinusoid.start(
            settings.problem, settings.head, cell.values["alpha"], settings.num_steps, cell.values["weights"]
        )
        tasks = sinusoid.draw(settings.problem, settings.batches * settings.tasks_per_batch, settings.task_seed)
        found = estimates(loop, settings.estimators(), meta, tasks, settings.tasks_at_once)
        exact = of_batches(found.exact, settings.tasks_per_batch)
        columns = {
            type(estimator).__name__: relative(of_batches(values, settings.tasks_per_batch), exact).tolist()
            for estimator, values in found.others.items()
        }
        return [
            {"batch": b, **{family: column[b] for family, column in columns.items()}} for b in range(settings.batches)
        ]

    def figure(self, settings: BatchErrorsSettings, records: Records) -> Figure:
        """A panel for each step size that is shown: errors of the first draw of the weights over mini-batches."""
        figure = Figure(figsize=(13, 3.8), layout="constrained")
        panels = figure.subplots(1, len(settings.shown_alphas), squeeze=False, sharey=True)[0]
        for axes, alpha in zip(panels, settings.shown_alphas, strict=True):
            rows = _rows(records, alpha, settings.weight_seeds[0])
            for family in _FAMILIES:
                label = family if family == "FirstOrder" else f"{family}({settings.order})"
                axes.plot(
                    [r["batch"] for r in rows], [r[family] for r in rows], color=COLORS[family], lw=0.9, label=label
                )
            axes.set_yscale("log")
            axes.set_xlabel("mini-batch")
            axes.set_title(f"α = {alpha:g}", fontsize=10)
        panels[0].set_ylabel("relative error of the\nmini-batch's meta-gradient")
        figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
        return figure

    def listings(self, settings: BatchErrorsSettings, records: Records) -> Sequence[Listing]:
        """Errors and factors by step size and draw of the weights."""
        rows: list[tuple[str, ...]] = []
        for alpha in settings.alphas:
            for seed in settings.weight_seeds:
                found = _rows(records, alpha, seed)
                low, middle, high = _quantiles(_factors(found))
                medians = [_quantiles([r[family] for r in found])[1] for family in _FAMILIES]
                rows.append(
                    (
                        f"{alpha:g}",
                        str(seed),
                        *(f"{value:.2g}" for value in medians),
                        f"{middle:.2g} ({low:.2g} to {high:.2g})",
                        f"{sum(f > 1 for f in _factors(found))} of {len(found)}",
                    )
                )
        return [
            Listing(
                f"Median over mini-batches of the relative error, L = {settings.order}; Truncated over Binomial, "
                "median (2.5 to 97.5 %)",
                ("α", "weights", *_FAMILIES, "factor", "Binomial below Truncated"),
                tuple(rows),
            )
        ]

    def findings(self, settings: BatchErrorsSettings, records: Records) -> Sequence[Finding]:
        """Below on every mini-batch, and by how much."""
        cells = {(a, s): _factors(_rows(records, a, s)) for a in settings.alphas for s in settings.weight_seeds}
        everywhere = [key for key, factors in cells.items() if min(factors) > 1]
        told = ", ".join(
            f"α = {alpha:g} in {sum((alpha, s) in everywhere for s in settings.weight_seeds)} of "
            f"{len(settings.weight_seeds)} draws of the weights"
            for alpha in settings.alphas
        )
        published = {alpha: [f for s in settings.weight_seeds for f in cells[alpha, s]] for alpha in settings.alphas}
        medians = {alpha: _quantiles(factors)[1] for alpha, factors in published.items()}
        inside = [alpha for alpha, factor in medians.items() if 1e3 <= factor <= 1e4]
        shares = ", ".join(
            f"α = {alpha:g}: {medians[alpha]:.2g} ({sum(1e3 <= f <= 1e4 for f in factors) / len(factors):.0%} of the "
            "mini-batches inside)"
            for alpha, factors in published.items()
        )
        return [
            Finding(
                f"With L = {settings.order}, BinomMAML consistently outperforms TruncMAML on varying tasks.",
                f"Binomial below Truncated on every one of {settings.batches} mini-batches: {told}.",
                any(all((alpha, s) in everywhere for s in settings.weight_seeds) for alpha in settings.alphas),
            ),
            Finding(
                "By an order of 10³ to 10⁴ (at an α that the paper does not state).",
                f"Median factor: {shares}.",
                bool(inside),
            ),
        ]


def _rows(records: Records, alpha: float, seed: int) -> list[Record]:
    return [r for r in records if r["alpha"] == alpha and r["weights"] == seed]


def _factors(records: Records) -> list[float]:
    return [r["Truncated"] / r["Binomial"] for r in records]


def _quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """2.5, 50 and 97.5 %."""
    levels = torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64)
    return cast(tuple[float, float, float], tuple(torch.tensor(values).double().quantile(levels).tolist()))


STUDY = BatchErrors()
