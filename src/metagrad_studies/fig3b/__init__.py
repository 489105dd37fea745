"""The paper's Figure 3b: actual error of a meta-gradient on sine waves over the order L, at many step sizes α."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from matplotlib.figure import Figure
from torch import Tensor

from metagrad.estimators import CurvatureRange, error_bound, theorem_3_6
from metagrad.estimators.base import Pullback
from metagrad.task import Batch, Task
from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Bench, Cell, Finding, Listing, Request, Study
from metagrad_studies.fig3b import findings as order_findings
from metagrad_studies.fig3b import plots as order_figure
from metagrad_studies.fig3b.records import OrderErrorsSettings
from metagrad_studies.instruments import sinusoid
from metagrad_studies.instruments.expansion import plain_estimates
from metagrad_studies.instruments.sinusoid import Head
from metagrad_studies.instruments.spectra import ranges
from metagrad_studies.instruments.task_errors import curvatures, estimates, of_batches, relative


class OrderErrors(Study[OrderErrorsSettings]):
    """Errors of FirstOrder, Truncated and Binomial by order, and the bounds that they must lie under."""

    name: ClassVar[str] = "fig3b"
    tiny: ClassVar[bool] = True
    title: ClassVar[str] = "Actual error of the meta-gradient over the order L, on sine waves"
    source: ClassVar[str] = "BinomGBML (arXiv 2604.13263), Figure 3b"
    choices: ClassVar[tuple[str, ...]] = (
        "The inner step size α is not stated. It decides everything: a grid of them, and the α at which the published "
        "factor of 10³ to 10⁴ appears.",
        *sinusoid.CHOICES,
        "All orders come from one table of curvature products; on the tasks whose curvature is measured the estimators "
        "themselves are run as well, and must agree.",
        "Bounds: theorem 3.6 with the largest spectral norm of α·H along each task's own inner loop, and `error_bound` "
        "with the range of its eigenvalues at every link; norms by Lanczos iteration, widened by its residual.",
    )

    def settings(self, request: Request) -> OrderErrorsSettings:
        """1000 mini-batches of 10 tasks at any size; "full" has more step sizes, and both heads at that number."""
        full = request.scale == "full"
        return OrderErrorsSettings(
            problem=sinusoid.published_problem(),
            num_steps=5,
            alphas=(0.0003, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02, 0.03)
            if full
            else (0.001, 0.003, 0.005, 0.01, 0.03),
            small_alpha=0.003,
            shown_alphas=(0.001, 0.003, 0.01),
            weight_seeds=tuple(range(10)),
            task_seed=1000,
            tasks_per_batch=10,
            batches={"zero": 100, "random": 100 if full else 10},
            bounded_batches=10 if full else 1,
            lanczos_iterations=25,
            lanczos_seed=2000,
            agreement=1e-10,
            tasks_at_once=200,
        )

    def cells(self, settings: OrderErrorsSettings) -> Sequence[Cell]:
        """One for each head, step size and draw of the weights."""
        return [
            Cell(f"{head}-head_alpha={alpha:g}_weights={seed}", {"head": head, "alpha": alpha, "weights": seed})
            for head in settings.batches
            for alpha in settings.alphas
            for seed in settings.weight_seeds
        ]

    def measure(self, settings: OrderErrorsSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """A record for each estimator: errors of all mini-batches, and errors beside bounds of the first ones."""
        head, alpha, seed = cast(Head, cell.values["head"]), cell.values["alpha"], cell.values["weights"]
        loop, meta = sinusoid.start(settings.problem, head, alpha, settings.num_steps, seed)
        count = settings.batches[head] * settings.tasks_per_batch
        tasks = sinusoid.draw(settings.problem, count, settings.task_seed + settings.weight_seeds.index(seed))
        found = plain_estimates(loop, meta, tasks, settings.tasks_at_once)
        # The same from the estimators themselves, on the tasks whose curvature is measured.
        bounded = settings.bounded_batches * settings.tasks_per_batch
        first = Task(*(Batch(*(leaf[:bounded] for leaf in batch)) for batch in tasks))
        again = estimates(loop, list(found.others), meta, first, settings.tasks_at_once)
        exact = of_batches(found.exact, settings.tasks_per_batch)
        curvature = curvatures(
            loop,
            meta,
            first,
            iterations=settings.lanczos_iterations,
            seed=settings.lanczos_seed,
            chunk=settings.tasks_at_once,
        )
        spreads = ranges(curvature)
        norms = [max(spread.farthest_from(0.0)) for spread in spreads]
        rows: list[Record] = []
        for estimator, values in found.others.items():
            errors = relative(of_batches(values, settings.tasks_per_batch), exact)
            apart = (values - found.exact).norm(dim=1)
            theorem, measured = _bounds(estimator, spreads, norms, found.outer_norm)
            # A mini-batch's error is at most the mean of its tasks' bounds.
            shown = of_batches(theorem, settings.tasks_per_batch) / exact[: settings.bounded_batches].norm(dim=1)
            rows.append(
                {
                    **_named(estimator),
                    "error": errors.mean().item(),
                    "task_error": (apart / found.exact.norm(dim=1)).mean().item(),
                    "bound": shown.mean().item(),
                    "error_of_bounded": errors[: settings.bounded_batches].mean().item(),
                    "of_theorem_3_6": (apart[:bounded] / theorem).max().item(),
                    "of_error_bound": (apart[:bounded] / measured).max().item(),
                    "bounded_tasks": bounded,
                    "disagreement": relative(values[:bounded], again.others[estimator]).max().item(),
                    "curvature": sum(norms) / len(norms),
                    "errors": errors.tolist(),
                }
            )
        return rows

    def figure(self, settings: OrderErrorsSettings, records: Records) -> Figure:
        """Errors over L, and factors over α."""
        return order_figure.figure(settings, records)

    def listings(self, settings: OrderErrorsSettings, records: Records) -> Sequence[Listing]:
        """Errors and factors."""
        return order_figure.listings(settings, records)

    def findings(self, settings: OrderErrorsSettings, records: Records) -> Sequence[Finding]:
        """The paper's sentences, and the bounds."""
        return order_findings.findings(settings, records)


def _named(estimator: Pullback) -> dict[str, Any]:
    order = getattr(estimator, "order", getattr(estimator, "window", 0))
    return {"estimator": type(estimator).__name__, "order": order}


def _bounds(
    estimator: Pullback, spreads: Sequence[CurvatureRange], norms: Sequence[float], outer: Tensor
) -> tuple[Tensor, Tensor]:
    """Two bounds on each task's error, [T]: theorem 3.6 with one norm for all links, and from each link's range."""
    lengths = outer[: len(spreads)]
    theorem = [theorem_3_6(estimator, len(r), norm) for r, norm in zip(spreads, norms, strict=True)]
    measured = [error_bound(estimator, r) for r in spreads]
    return lengths * torch.tensor(theorem).to(lengths), lengths * torch.tensor(measured).to(lengths)


STUDY = OrderErrors()
