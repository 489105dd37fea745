"""Verdicts on claims: what 95 % intervals allow to be said, and how it is written."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from metagrad.training.evaluation import Interval


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
