"""The paper's Figure 3b: actual error of a meta-gradient on sine waves over the order L, at many step sizes α."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from metagrad import Batch, Task
from metagrad.estimators import CurvatureRange, error_bound, theorem_3_6
from metagrad.estimators.base import Pullback
from metagrad_studies.core import Bench, Cell, Record, Request, crossed
from metagrad_studies.fig3b.results import OrderErrorsSettings, Results
from metagrad_studies.instruments import sinusoid
from metagrad_studies.instruments.sinusoid import Head
from metagrad_studies.instruments.spectra import ranges
from metagrad_studies.instruments.task_errors import curvatures, estimates, of_batches, plain_estimates, relative


class OrderErrors(Results):
    """Errors of FirstOrder, Truncated and Binomial by order, and the bounds that they must lie under."""

    name: ClassVar[str] = "fig3b"
    title: ClassVar[str] = "Actual error of the meta-gradient over the order L, on sine waves"
    source: ClassVar[str] = "BinomGBML (arXiv 2604.13263), Figure 3b"
    tiny: ClassVar[bool] = True
    choices: ClassVar[tuple[str, ...]] = (
        "The paper does not state the inner step size α, and the factor depends on it more than on anything else. We "
        "take a grid, and look for the α at which the published factor of 10³ to 10⁴ appears.",
        *sinusoid.CHOICES,
        "All orders come from one table of curvature products. On the tasks whose curvature is measured the "
        "estimators themselves run as well, and must agree.",
        "Bounds: theorem 3.6 with the largest spectral norm of α·H along each task's own inner loop, and "
        "`error_bound` with the range of its eigenvalues at every link. Norms come from Lanczos iteration, widened by "
        "its residual.",
    )

    def settings(self, request: Request) -> OrderErrorsSettings:
        full = request.scale == "full"
        few, many = (0.001, 0.003, 0.005, 0.01, 0.03), (0.0003, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02, 0.03)
        batches: dict[Head, int] = {"zero": 100, "random": 100 if full else 10}
        return OrderErrorsSettings(alphas=many if full else few, batches=batches, bounded_batches=10 if full else 1)

    def cells(self, settings: OrderErrorsSettings) -> Sequence[Cell]:
        return crossed(
            "{head}-head_alpha={alpha:g}_weights={weights}",
            head=settings.batches,
            alpha=settings.alphas,
            weights=settings.weight_seeds,
        )

    def measure(self, settings: OrderErrorsSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """A record for each estimator: errors of all mini-batches, and errors beside bounds of the first ones."""
        head, alpha, seed = cell.values["head"], cell.values["alpha"], cell.values["weights"]
        loop, meta = sinusoid.start(settings.problem, head, alpha, settings.num_steps, seed)
        per_batch, chunk = settings.tasks_per_batch, settings.tasks_at_once
        count, bounded = settings.batches[head] * per_batch, settings.bounded_batches * per_batch
        tasks = sinusoid.draw(settings.problem, count, settings.task_seed + settings.weight_seeds.index(seed))
        table = plain_estimates(loop, meta, tasks, chunk)
        # The same from the estimators themselves, on the tasks whose curvature is measured.
        first = Task(*(Batch(*(leaf[:bounded] for leaf in batch)) for batch in tasks))
        again = estimates(loop, list(table.others), meta, first, chunk)
        iterations, direction = settings.lanczos_iterations, settings.lanczos_seed
        spreads = ranges(curvatures(loop, meta, first, iterations=iterations, seed=direction, chunk=chunk))
        norms = [max(spread.farthest_from(0.0)) for spread in spreads]
        exact = of_batches(table.exact, per_batch)
        rows: list[Record] = []
        for estimator, values in table.others.items():
            errors = relative(of_batches(values, per_batch), exact)
            apart = (values - table.exact).norm(dim=1)
            theorem, measured = _bounds(estimator, spreads, norms, table.outer_norm)
            # A mini-batch's error is at most the mean of its tasks' bounds.
            shown = of_batches(theorem, per_batch) / exact[: settings.bounded_batches].norm(dim=1)
            rows.append(
                {
                    "estimator": type(estimator).__name__,
                    "order": getattr(estimator, "order", getattr(estimator, "window", 0)),
                    "error": errors.mean().item(),
                    "task_error": (apart / table.exact.norm(dim=1)).mean().item(),
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


def _bounds(
    estimator: Pullback, spreads: Sequence[CurvatureRange], norms: Sequence[float], outer: Tensor
) -> tuple[Tensor, Tensor]:
    """Two bounds on each task's error, [T]: theorem 3.6 with one norm for all links, and from each link's range."""
    lengths = outer[: len(spreads)]
    theorem = [theorem_3_6(estimator, len(r), norm) for r, norm in zip(spreads, norms, strict=True)]
    measured = [error_bound(estimator, r) for r in spreads]
    return lengths * torch.tensor(theorem).to(lengths), lengths * torch.tensor(measured).to(lengths)


STUDY = OrderErrors()
