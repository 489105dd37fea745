"""What the study of smoothness measures under, and the statistics of its records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from metagrad.training.evaluation import Interval
from metagrad_studies.core.intervals import over_seeds_and_tasks, rank_correlation
from metagrad_studies.core.records import Record, Records


@dataclass(frozen=True)
class TrainedProblem:
    """A problem, how it is trained and where it is measured.

    Args:
        name: of the preset that it was taken from.
        experiment: all of its numbers, as config.json holds them; `seed` is replaced by those of the study.
        points: meta-steps at which the meta-objective is measured, ascending; the last is the length of training.
        tasks: training tasks that make the meta-objective.
    """

    name: str
    experiment: Mapping[str, Any]
    points: tuple[int, ...]
    tasks: int


@dataclass(frozen=True)
class SmoothnessSettings:
    """Every number of the study.

    Args:
        problems: what is trained.
        seeds: of weights and training tasks.
        task_seed: of the tasks of the meta-objective.
        lanczos_seed: of the first direction.
        lanczos_iterations: products with the Hessian of the meta-objective.
    """

    problems: tuple[TrainedProblem, ...]
    seeds: tuple[int, ...]
    task_seed: int
    lanczos_seed: int
    lanczos_iterations: int


class Line(NamedTuple):
    """smoothness ≈ constant + slope·‖∇F‖ by least squares, and the share of the variance that it explains."""

    constant: float
    slope: float
    explained: float


def fitted(gradient_norms: Sequence[float], smoothness: Sequence[float]) -> Line:
    """L0 and L1 of ‖∇²F‖ = L0 + L1·‖∇F‖."""
    x, y = (torch.tensor(values, dtype=torch.float64) for values in (gradient_norms, smoothness))
    centered, risen = x - x.mean(), y - y.mean()
    slope = (centered * risen).sum() / centered.square().sum()
    left = risen - slope * centered
    explained = 1 - left.square().sum() / risen.square().sum()
    return Line((y.mean() - slope * x.mean()).item(), slope.item(), explained.item())


def course(records: Records, problem: str, seed: int) -> list[Record]:
    """The points of one training, in order."""
    return [r for r in records if (r["problem"], r["seed"]) == (problem, seed)]


def along_training(settings: SmoothnessSettings, records: Records, problem: str) -> Interval:
    """Rank correlation of smoothness and gradient norm over the points of a training, its mean over seeds."""
    each = [
        rank_correlation([r["gradient_norm"] for r in points], [r["smoothness"] for r in points])
        for points in (course(records, problem, seed) for seed in settings.seeds)
    ]
    return _over_seeds(each)


def over_tasks(settings: SmoothnessSettings, records: Records, problem: str) -> Interval:
    """The same over tasks, each with its own meta-objective, at one point: mean over points, then over seeds."""
    each = [
        sum(rank_correlation(r["task_gradient_norms"], r["task_smoothness"]) for r in points) / len(points)
        for points in (course(records, problem, seed) for seed in settings.seeds)
    ]
    return _over_seeds(each)


def _over_seeds(values: Sequence[float]) -> Interval:
    return over_seeds_and_tasks([torch.tensor([value], dtype=torch.float64) for value in values])
