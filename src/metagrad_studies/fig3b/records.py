"""What fig3b measures under, and how its records are read."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from metagrad.experiments.problems import SinusoidRegression
from metagrad_studies.core.intervals import over_seeds_and_tasks
from metagrad_studies.core.records import Record, Records
from metagrad_studies.instruments.sinusoid import Head

HEADS: Mapping[str, str] = {"zero": "head at zero", "random": "head drawn"}
"""Words for where the last layer starts."""


@dataclass(frozen=True)
class OrderErrorsSettings:
    """Every number of the study.

    Args:
        problem: sine waves and network.
        num_steps: K.
        alphas: inner step sizes, ascending.
        small_alpha: up to where the factor between Truncated and Binomial is judged.
        shown_alphas: those with a panel of their own.
        weight_seeds: of the initial weights; the tasks of the i-th come from seed `task_seed` + i.
        task_seed: see `weight_seeds`.
        tasks_per_batch: tasks of a mini-batch.
        batches: mini-batches for each draw of the weights, by where the head starts.
        bounded_batches: of these, the first ones, on which curvature is measured and errors are held against bounds.
        lanczos_iterations: curvature products a link for that.
        lanczos_seed: of its first direction.
        agreement: largest relative difference to the estimators themselves that is put down to rounding.
        tasks_at_once: tasks side by side.
    """

    problem: SinusoidRegression
    num_steps: int
    alphas: tuple[float, ...]
    small_alpha: float
    shown_alphas: tuple[float, ...]
    weight_seeds: tuple[int, ...]
    task_seed: int
    tasks_per_batch: int
    batches: Mapping[Head, int]
    bounded_batches: int
    lanczos_iterations: int
    lanczos_seed: int
    agreement: float
    tasks_at_once: int


def draws(
    records: Iterable[Record], head: str, alpha: float, family: str, order: int, field: str = "error"
) -> list[float]:
    """One value for each draw of the weights; order 0 is FirstOrder in both families."""
    wanted = (head, alpha, family if order else "FirstOrder", order)
    return [r[field] for r in records if (r["head"], r["alpha"], r["estimator"], r["order"]) == wanted]


def mean(values: Sequence[float]) -> float:
    """Their mean."""
    return sum(values) / len(values)


def gains(records: Records, head: str, alpha: float, order: int) -> list[float]:
    """Truncated over Binomial for each draw of the weights."""
    families = (draws(records, head, alpha, family, order) for family in ("Truncated", "Binomial"))
    return [truncated / binomial for truncated, binomial in zip(*families, strict=True)]


def gain(records: Records, head: str, alpha: float, order: int) -> float:
    """Truncated over Binomial, of the means over all mini-batches."""
    truncated, binomial = (mean(draws(records, head, alpha, family, order)) for family in ("Truncated", "Binomial"))
    return truncated / binomial


def with_interval(values: Sequence[float]) -> str:
    """Mean ± half of the 95 % interval, in two digits and one."""
    entry = over_seeds_and_tasks([torch.tensor([value], dtype=torch.float64) for value in values])
    return f"{entry.mean:.2g}" + ("" if math.isnan(entry.half_width) else f" ± {entry.half_width:.1g}")
