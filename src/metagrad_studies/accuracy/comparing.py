"""Trained methods compared on the same seeds and test tasks, and what such comparisons say of a claim."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import float64, tensor

from metagrad.training.evaluation import Interval
from metagrad_studies.accuracy.methods import Method
from metagrad_studies.accuracy.settings import AccuracySettings, DataSet
from metagrad_studies.core.records import Record, Records
from metagrad_studies.instruments.training import pooled, pooled_difference


class Compared(NamedTuple):
    """Accuracy of one method minus that of another, in fractions."""

    what: str
    by: Interval

    @property
    def above(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.by.mean - self.by.half_width > 0

    @property
    def below(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.by.mean + self.by.half_width < 0

    def __str__(self) -> str:
        return f"{self.what}: {signed(self.by)}"


def of(records: Records, data: DataSet, method: Method) -> list[Record]:
    """The records of one method on one data set, one a seed."""
    key = (data.title, method.name, method.order)
    return [record for record in records if (record["data_set"], record["method"], record["order"]) == key]


def accuracy(settings: AccuracySettings, records: Records) -> Interval:
    """Mean accuracy of one method, with the spread that the settings ask for."""
    if settings.spread == "95 % interval":
        return pooled(records, "accuracy")
    means = tensor([record["accuracy_tasks"] for record in records], dtype=float64).mean(0)
    return Interval(means.mean().item(), means.std(correction=0).item() / math.sqrt(len(means)))


def compared(records: Records, data: DataSet, first: Method, second: Method) -> Compared:
    """First minus second, paired by seed and task, with its 95 % interval."""
    by = pooled_difference(of(records, data, first), of(records, data, second), "accuracy")
    return Compared(f"{first.label} minus {second.label}, {data.title}", by)


def ranks(settings: AccuracySettings, records: Records, data: DataSet) -> dict[Method, int]:
    """1 for the method of the highest mean accuracy."""
    means = {method: pooled(of(records, data, method), "accuracy").mean for method in settings.methods}
    return {method: 1 + sum(other > mean for other in means.values()) for method, mean in means.items()}


def most(comparisons: Sequence[Compared]) -> bool | None:
    """Whether more than half are above 0: True or False where the intervals tell, None where they do not."""
    half = len(comparisons) / 2
    if sum(one.above for one in comparisons) > half:
        return True
    return False if len(comparisons) - sum(one.below for one in comparisons) <= half else None


def every(comparisons: Sequence[Compared]) -> bool | None:
    """Whether all are above 0, as far as the intervals tell."""
    if all(one.above for one in comparisons):
        return True
    return False if any(one.below for one in comparisons) else None


def counted(comparisons: Sequence[Compared]) -> str:
    """How many are above, below and undecided, with the mean difference of all."""
    above, below = sum(one.above for one in comparisons), sum(one.below for one in comparisons)
    mean = sum(one.by.mean for one in comparisons) / len(comparisons)
    return (
        f"above in {above} of {len(comparisons)} cases, below in {below}, undecided at 95 % in "
        f"{len(comparisons) - above - below}; {100 * mean:+.2f} points on average"
    ).replace("-", "−")


def signed(interval: Interval) -> str:
    """In percentage points, with its sign."""
    return f"{100 * interval.mean:+.2f} ± {100 * interval.half_width:.2f}".replace("-", "−")


def percent(interval: Interval) -> str:
    """In percent."""
    return f"{100 * interval.mean:.2f} ± {100 * interval.half_width:.2f}"
