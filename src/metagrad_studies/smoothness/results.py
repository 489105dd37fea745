"""What the study of smoothness measures under, the statistics of its records, findings, figure and tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from metagrad.training import Interval
from metagrad_studies.core import Finding, Listing, Records, Study, listing
from metagrad_studies.core.plots import label, legend, panels
from metagrad_studies.core.verdicts import above, all_of, over_seeds, rank_correlation


@dataclass(frozen=True)
class TrainedProblem:
    """A problem, how it is trained and where it is measured."""

    name: str  # of the preset that it was taken from
    experiment: Mapping[str, Any]  # its numbers, as config.json holds them; `seed` is replaced by those of the study
    points: tuple[int, ...]  # meta-steps at which the meta-objective is measured; the last is the length of training
    tasks: int  # training tasks that make the meta-objective


@dataclass(frozen=True)
class SmoothnessSettings:
    """Every number of the study."""

    problems: tuple[TrainedProblem, ...]  # what is trained
    seeds: tuple[int, ...]  # of weights and training tasks
    task_seed: int = 7000  # of the tasks of the meta-objective
    lanczos_seed: int = 8000  # of the first direction
    lanczos_iterations: int = 20  # products with the Hessian of the meta-objective


class Line(NamedTuple):
    """smoothness ≈ constant + slope·‖∇F‖ by least squares, and the share of the variance that it explains."""

    constant: float
    slope: float
    explained: float

    def __str__(self) -> str:
        return f"{self.constant:.3g} {'−' if self.slope < 0 else '+'} {abs(self.slope):.3g}·‖∇F‖"


def fitted(gradient_norms: Sequence[float], smoothness: Sequence[float]) -> Line:
    """L0 and L1 of ‖∇²F‖ = L0 + L1·‖∇F‖."""
    x, y = (torch.tensor(values, dtype=torch.float64) for values in (gradient_norms, smoothness))
    centered, risen = x - x.mean(), y - y.mean()
    slope = (centered * risen).sum() / centered.square().sum()
    left = risen - slope * centered
    explained = 1 - left.square().sum() / risen.square().sum()
    return Line((y.mean() - slope * x.mean()).item(), slope.item(), explained.item())


Pairs = tuple[list[float], list[float]]  # Norms of gradients, and the smoothness there


class View(NamedTuple):
    """One way to look at the records of a problem."""

    words: str
    pairs: Callable[[Records], Pairs]
    correlated: Callable[[Records], float]  # rank correlation within the records of one training

    def correlation(self, settings: SmoothnessSettings, records: Records) -> Interval:
        """Rank correlation of smoothness and gradient norm, its mean over seeds."""
        each = [self.correlated(records.where(seed=seed)) for seed in settings.seeds]
        return over_seeds(each)


def _of_mean(points: Records) -> Pairs:
    return points.column("gradient_norm"), points.column("smoothness")


def _of_tasks(points: Records) -> Pairs:
    norms, sizes = ([v for r in points for v in r[name]] for name in ("task_gradient_norms", "task_smoothness"))
    return norms, sizes


ALONG_TRAINING = View("along training", _of_mean, lambda points: rank_correlation(*_of_mean(points)))
"""The mean objective, a pair a point."""

OVER_TASKS = View(
    "over tasks, each with its own objective, at the same weights",
    _of_tasks,
    lambda points: fmean(rank_correlation(*_of_tasks(Records([point]))) for point in points),
)
"""Each task by itself: at one point, training cannot be the common cause; the mean over points."""


_SMOOTHNESS, _GRADIENT = "#2b6ca3", "#d1822f"


def _judged(settings: SmoothnessSettings, records: Records, view: View) -> Finding:
    verdicts: list[bool | None] = []
    parts: list[str] = []
    for problem in settings.problems:
        here = records.where(problem=problem.name)
        entry, (norms, sizes) = view.correlation(settings, here), view.pairs(here)
        line = fitted(norms, sizes)
        verdicts.append(above(entry))
        parts.append(
            f"{problem.name}: rank correlation {entry.mean:.2f} ± {entry.half_width:.2f} over {len(settings.seeds)} "
            f"seeds, fit ‖∇²F‖ = {line} (explains {line.explained:.0%}), ‖∇F‖ spans a factor of "
            f"{max(norms) / min(norms):.2g}"
        )
    held = all_of(verdicts)
    undecided = " Some interval holds 0, so these records cannot tell." if held is None else ""
    return Finding(
        f"The smoothness constant of the MAML objective grows with the norm of the meta-gradient ({view.words}).",
        f"{'; '.join(parts)}.{undecided}",
        held,
    )


def _along(axes: Axes, settings: SmoothnessSettings, records: Records, problem: TrainedProblem) -> None:
    for seed in settings.seeds:
        points = records.where(seed=seed)
        for name, color, words in (("smoothness", _SMOOTHNESS, "‖∇²F‖"), ("gradient_norm", _GRADIENT, "‖∇F‖")):
            shown = words if seed == settings.seeds[0] else None
            axes.plot(points.column("meta_step"), points.column(name), color=color, lw=1, alpha=0.8, label=shown)
    axes.set_xscale("symlog", linthresh=max(problem.points[1], 1))
    axes.set_xticks(problem.points, [f"{point}" for point in problem.points])
    axes.minorticks_off()
    label(axes, "meta-steps", f"{problem.name}\nnorms, a line a seed", "along training", log="y")
    _decades(axes.yaxis)
    legend(axes)


def _scatter(axes: Axes, records: Records, view: View, title: str, size: float) -> None:
    norms, sizes = view.pairs(records)
    line = fitted(norms, sizes)
    axes.scatter(norms, sizes, s=size, color=_SMOOTHNESS, alpha=0.5, linewidths=0)
    ends = [min(norms) * (max(norms) / min(norms)) ** (i / 50) for i in range(51)]
    shown = [(x, y) for x in ends if (y := line.constant + line.slope * x) >= min(sizes) / 2]
    axes.plot(*zip(*shown, strict=True), color="0.3", lw=1, label=str(line))
    label(axes, "‖∇F‖", "‖∇²F‖ (spectral)", title)
    legend(axes)


def _decades(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 of each decade of a logarithmic axis, whose span may be less than one."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


class Results(Study[SmoothnessSettings]):
    """The half of the study that reads records."""

    def figure(self, settings: SmoothnessSettings, records: Records) -> Figure:
        figure, rows = panels(len(settings.problems), 3, 13, 3.7 * len(settings.problems))
        for (course, joint, single), problem in zip(rows, settings.problems, strict=True):
            here = records.where(problem=problem.name)
            _along(course, settings, here, problem)
            _scatter(joint, here, ALONG_TRAINING, "the mean objective, along training", 18)
            _scatter(single, here, OVER_TASKS, "single tasks, all points and seeds", 4)
            single.set(xscale="log", yscale="log")
            _decades(single.xaxis)
            _decades(single.yaxis)
        return figure

    def listings(self, settings: SmoothnessSettings, records: Records) -> list[Listing]:
        columns = ("loss", "gradient_norm", "smoothness", "low")

        def row(problem: TrainedProblem, point: int) -> list[object]:
            here = records.where(problem=problem.name, meta_step=point)
            return [point, *(f"{fmean(here.column(name)):.3g}" for name in columns)]

        return [
            listing(
                f"{problem.name}: the meta-objective along training, means over {len(settings.seeds)} seeds",
                ("meta-steps", "F", "‖∇F‖", "‖∇²F‖", "smallest eigenvalue of ∇²F"),
                (row(problem, point) for point in problem.points),
            )
            for problem in settings.problems
        ]

    def findings(self, settings: SmoothnessSettings, records: Records) -> list[Finding]:
        return [_judged(settings, records, view) for view in (ALONG_TRAINING, OVER_TASKS)]
