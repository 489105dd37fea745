"""What the records of error-and-accuracy say of one method: how good it became, how far off its meta-gradients were."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, float64, tensor

from metagrad.experiments.axes import unit
from metagrad.experiments.config import Experiment
from metagrad.training.evaluation import Interval
from metagrad_studies.accuracy.comparing import of
from metagrad_studies.accuracy.methods import Method
from metagrad_studies.accuracy.settings import AccuracySettings, DataSet
from metagrad_studies.core.intervals import over_seeds_and_tasks
from metagrad_studies.core.records import Record, Records


@dataclass(frozen=True)
class ErrorAccuracySettings(AccuracySettings):
    """Settings of accuracies, with the data set that shares of the gap are judged on.

    Args:
        deciding: its title.
    """

    deciding: str


@dataclass(frozen=True)
class Score:
    """What a data set's test measures.

    Args:
        name: "accuracy", or "loss" where there is no other.
        factor: what to multiply it by.
        label: of an axis.
        sign: 1 where more is better, −1 where less is.
    """

    name: str
    factor: float
    label: str
    sign: int

    def of(self, record: Record) -> Tensor:
        """The value of every test task, in its unit, [n]."""
        return self.factor * tensor(record[f"{self.name}_tasks"], dtype=float64)

    def written(self, interval: Interval, signed: bool = False) -> str:
        """In its unit; two digits behind the point for percent, three for a loss."""
        digits = 2 if self.name == "accuracy" else 3
        sign = "+" if signed else ""
        return f"{interval.mean:{sign}.{digits}f} ± {interval.half_width:.{digits}f}".replace("-", "−")

    @property
    def points(self) -> str:
        """What a difference of two is counted in."""
        return "points" if self.name == "accuracy" else "of the loss"


def score(data: DataSet) -> Score:
    """Accuracy in percent where the problem has it, loss elsewhere."""
    config = Experiment.from_json(data.config)
    name = "accuracy" if "accuracy" in config.problem.metrics() else "loss"
    return Score(name, *unit(config, name), sign=1 if name == "accuracy" else -1)


def pooled_score(records: Records, data: DataSet, method: Method) -> Interval:
    """Mean over seeds and test tasks."""
    what = score(data)
    return over_seeds_and_tasks([what.of(record) for record in of(records, data, method)])


def contrast(records: Records, data: DataSet, weights: Mapping[Method, float]) -> Interval:
    """A weighted sum of methods' scores, paired by seed and task; positive is better, also for losses.

    Raises:
        ValueError: the methods do not have the same seeds.
    """
    what = score(data)
    tables = {method: {r["seed"]: what.of(r) for r in of(records, data, method)} for method in weights}
    [first, *others] = tables.values()
    if any(set(table) != set(first) for table in others):
        raise ValueError(f"on {data.title} the methods do not have the same seeds; finish the study first")
    parts = [(what.sign * weight, tables[method]) for method, weight in weights.items()]
    return over_seeds_and_tasks([sum((w * table[seed] for w, table in parts), tensor(0.0)) for seed in first])


def run_error(record: Record, method: Method) -> float:
    """Geometric mean of the errors probed along one run, for they span orders of magnitude; exactly 0 for Exact.

    Infinite where a probe had no finite value, or the run diverged before its first.
    """
    if method.family == "Exact":
        return 0.0
    errors = record["probe_errors"]
    if not errors or None in errors:
        return math.inf
    return math.exp(sum(math.log(error) for error in errors) / len(errors)) if min(errors) > 0 else 0.0


def pooled_error(records: Records, data: DataSet, method: Method) -> tuple[float, float, float]:
    """Geometric mean over seeds of `run_error`, and the ends of its 95 % interval (Student's, of the logarithms)."""
    errors = [run_error(record, method) for record in of(records, data, method)]
    if not all(0 < error < math.inf for error in errors):
        worst = max(errors)
        return worst, worst, worst
    logs = over_seeds_and_tasks([tensor([math.log(error)]) for error in errors])
    low, high = logs.mean - logs.half_width, logs.mean + logs.half_width
    return math.exp(logs.mean), math.exp(low), math.exp(high)
