"""Whether two lists are in the same order."""

from collections.abc import Sequence

import torch
from torch import Tensor


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: the correlation of ranks, equal values sharing the mean of theirs; NaN where all are."""
    a, b = (_ranks(torch.tensor(values, dtype=torch.float64)) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    return ((a * b).sum() / (a.norm() * b.norm())).item()


def _ranks(values: Tensor) -> Tensor:
    below = (values[None, :] < values[:, None]).sum(1)
    equal = (values[None, :] == values[:, None]).sum(1)
    return below.double() + (equal.double() - 1) / 2
