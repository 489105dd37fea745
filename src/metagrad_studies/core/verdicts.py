"""95 % intervals that know the spread of seeds and of tasks, and what they allow to be said of a claim."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metagrad.training import Interval

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


def over_seeds_and_tasks(values: Sequence[Tensor]) -> Interval:
    """Mean of a table of S seeds by n tasks, with the interval that new seeds *and* new tasks would stay in.

        V = s_S²/S + s_n²/n,   half width t·√V

    s_S² is the variance of the seeds' means and s_n² that of the tasks' means. The tasks are the same for every seed,
    so more seeds do not help against few tasks, nor more tasks against few seeds. t is the quantile of Student's
    distribution at Satterthwaite's degrees of freedom, V²/((s_S²/S)²/(S−1) + (s_n²/n)²/(n−1)): 1.96 where many tasks
    decide, 4.30 where three seeds do. What is left of a value beside its seed's and its task's share is counted in both
    terms: a little too wide where that is most of it. One seed gives the interval over tasks, one task that over seeds.
    `values` are a vector [n] for each seed; of a difference, the difference of the two vectors.

    Raises:
        ValueError: no seeds, or vectors of several lengths: their tasks were not the same.
    """
    if not values or len({part.shape for part in values}) > 1 or values[0].ndim != 1:
        shapes = ", ".join(str(list(part.shape)) for part in values)
        raise ValueError(f"every seed needs a vector of values of the same tasks, got shapes {shapes or 'of no seed'}")
    table = torch.stack([part.double() for part in values])
    parts = [
        (means.var(correction=1).item() / len(means), len(means) - 1)
        for means in (table.mean(1), table.mean(0))
        if len(means) > 1
    ]
    variance = sum(part for part, _ in parts)
    mean = table.mean().item()
    if variance == 0:
        return Interval(mean, 0.0 if parts else math.nan)
    freedom = variance**2 / sum(part**2 / each for part, each in parts)
    return Interval(mean, student(freedom) * math.sqrt(variance))


def over_seeds(values: Sequence[float]) -> Interval:
    """Mean of one value a seed, with its 95 % interval."""
    return over_seeds_and_tasks([torch.tensor([value], dtype=torch.float64) for value in values])


@lru_cache(maxsize=1024)
def student(freedom: float) -> float:
    """The t with P(|T| ≤ t) = 0.95, T of Student's distribution with that many degrees of freedom, a positive number.

    With T = √ν·tan θ the probability is an integral of cos^{ν−1} θ, which is bisected.
    """
    if not freedom > 0:
        raise ValueError(f"degrees of freedom must be positive, got {freedom!r}")
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)

    def within(t: float) -> float:
        end = math.atan(t / math.sqrt(freedom))
        return float(scale * end * (_WEIGHTS * np.cos(end * (_NODES + 1) / 2) ** (freedom - 1)).sum())

    low, high = 1.0, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < 0.95 else (low, middle)
    return high


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: the correlation of ranks, equal values sharing the mean of theirs; NaN where all are."""
    a, b = (_ranks(torch.tensor(values, dtype=torch.float64)) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    return ((a * b).sum() / (a.norm() * b.norm())).item()


def _ranks(values: Tensor) -> Tensor:
    below = (values[None, :] < values[:, None]).sum(1)
    equal = (values[None, :] == values[:, None]).sum(1)
    return below.double() + (equal.double() - 1) / 2


class Compared(NamedTuple):
    """A difference, and what it is a difference of."""

    what: str
    by: Interval

    def __str__(self) -> str:
        return f"{self.what}: {written(self.by, signed=True)}"


def above(interval: Interval, bound: float = 0.0) -> bool | None:
    """Whether the whole interval lies above the bound; None where the bound is inside it."""
    if interval.mean - interval.half_width > bound:
        return True
    return False if interval.mean + interval.half_width < bound else None


def all_of(verdicts: Iterable[bool | None]) -> bool | None:
    """False where one is; else None where one is; else True."""
    each = set(verdicts)
    return False if False in each else None if None in each else True


def every(comparisons: Iterable[Compared]) -> bool | None:
    """Whether all differences are above 0, as far as the intervals tell."""
    return all_of(above(one.by) for one in comparisons)


def most(comparisons: Sequence[Compared]) -> bool | None:
    """Whether more than half are above 0: True or False where the intervals tell, None where they do not."""
    verdicts, half = [above(one.by) for one in comparisons], len(comparisons) / 2
    if verdicts.count(True) > half:
        return True
    return False if len(verdicts) - verdicts.count(False) <= half else None


def counted(comparisons: Sequence[Compared]) -> str:
    """How many are above 0, below it and undecided, with the mean difference of all in percentage points."""
    verdicts = [above(one.by) for one in comparisons]
    mean = sum(one.by.mean for one in comparisons) / len(comparisons)
    return (
        f"above in {verdicts.count(True)} of {len(verdicts)} cases, below in {verdicts.count(False)}, undecided at "
        f"95 % in {verdicts.count(None)}; {100 * mean:+.2f} points on average"
    ).replace("-", "−")


def written(interval: Interval, digits: int = 2, factor: float = 100.0, *, signed: bool = False) -> str:
    """Mean ± half width, in percent unless `factor` says otherwise."""
    sign = "+" if signed else ""
    mean, half = factor * interval.mean, factor * interval.half_width
    return f"{mean:{sign}.{digits}f} ± {half:.{digits}f}".replace("-", "−")
