"""What error-and-accuracy says: shares of the gap between FirstOrder and Exact, and whether error decides."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from torch import Tensor, float64, tensor

from metagrad.experiments.axes import unit
from metagrad.experiments.config import Experiment
from metagrad.training import Interval
from metagrad_studies.accuracy.methods import FOMAML, Method, named
from metagrad_studies.accuracy.tables import AccuracySettings, DataSet, of
from metagrad_studies.core import Finding, Record, Records, Study
from metagrad_studies.core.verdicts import (
    Compared,
    above,
    every,
    over_seeds,
    over_seeds_and_tasks,
    rank_correlation,
    written,
)


@dataclass(frozen=True, kw_only=True)
class ErrorAccuracySettings(AccuracySettings):
    """Settings of accuracies, with the data set that shares of the gap are judged on."""

    deciding: str  # its title


@dataclass(frozen=True)
class Score:
    """What a data set's test measures."""

    name: str  # "accuracy", or "loss" where there is no other
    factor: float  # what to multiply it by
    label: str  # of an axis
    sign: int  # 1 where more is better, −1 where less is

    def of(self, record: Record) -> Tensor:
        """The value of every test task, in its unit, [n]."""
        return self.factor * tensor(record[f"{self.name}_tasks"], dtype=float64)

    def written(self, interval: Interval, signed: bool = False) -> str:
        """In its unit; two digits behind the point for percent, three for a loss."""
        return written(interval, 2 if self.name == "accuracy" else 3, 1.0, signed=signed)

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
    logs = over_seeds([math.log(error) for error in errors])
    low, high = logs.mean - logs.half_width, logs.mean + logs.half_width
    return math.exp(logs.mean), math.exp(low), math.exp(high)


BARS: Mapping[int, float] = {2: 0.9, 1: 0.6}  # The share of the gap that the learned center is to close, by order

_NAMED = 4  # exceptions told by name, a data set


class Share(NamedTuple):
    """How much of the gap between FirstOrder and Exact a method closes.

    The sign of `beside` says whether the bar was met, with no ratio of two uncertain numbers.
    """

    gap: Interval  # Exact minus FirstOrder
    closed: float  # the method minus FirstOrder, as a part of the gap
    beside: Interval  # the method minus FirstOrder minus the part of the gap that the bar demands

    @property
    def met(self) -> bool | None:
        """None without a gap above 0 at 95 %, and where the interval holds the bar."""
        return above(self.beside) if above(self.gap) else None


def share(records: Records, data: DataSet, ends: tuple[Method, Method], method: Method, bar: float) -> Share:
    """What a method closes of the gap between `ends`, FirstOrder and Exact, beside the bar."""
    first, exact = ends
    gap = contrast(records, data, {exact: 1, first: -1})
    gain = contrast(records, data, {method: 1, first: -1}).mean
    beside = contrast(records, data, {method: 1, first: bar - 1, exact: -bar})
    return Share(gap, gain / gap.mean if gap.mean else math.nan, beside)


def _deciding(settings: ErrorAccuracySettings) -> DataSet:
    return next(data for data in settings.data_sets if data.title == settings.deciding)


def _closes(settings: ErrorAccuracySettings, records: Records, method: Method) -> Finding:
    bar, ends = BARS[method.order], (FOMAML, settings.maml)
    parts: list[str] = []
    for data in settings.data_sets:
        part, what = share(records, data, ends, method, bar), score(data)
        closed = f"{100 * part.closed:.0f}".replace("-", "−")
        parts.append(
            f"{data.title}: {closed} % of a gap of {what.written(part.gap, signed=True)} {what.points} "
            f"({what.written(part.beside, signed=True)} beside {100 * bar:.0f} % of it)"
        )
    return Finding(
        f"{method.label} closes at least {100 * bar:.0f} % of the gap between FirstOrder and Exact on "
        f"{settings.deciding}.",
        f"{'; '.join(parts)}.",
        share(records, _deciding(settings), ends, method, bar).met,
    )


def _beats(settings: ErrorAccuracySettings, records: Records, method: Method, *names: str) -> Finding:
    rivals = [rival for name in names for rival in named(settings.methods, name) if rival.order == method.order]

    def beside(data: DataSet) -> list[Compared]:
        return [Compared(rival.label, contrast(records, data, {method: 1, rival: -1})) for rival in rivals]

    parts = [
        f"{data.title}: "
        + ", ".join(f"{score(data).written(one.by, signed=True)} to {one.what}" for one in beside(data))
        for data in settings.data_sets
    ]
    return Finding(
        f"{method.label} is above {' and '.join(rival.label for rival in rivals)} on {settings.deciding}.",
        f"Differences, positive where the learned center is better: {'; '.join(parts)}.",
        every(beside(_deciding(settings))),
    )


def _ranked(settings: ErrorAccuracySettings, records: Records) -> Finding:
    """Seed by seed, so that the interval over seeds needs no model of ranks."""
    correlations: list[Compared] = []
    for data in settings.data_sets:
        what = score(data)
        each: list[float] = []
        for seed in settings.seeds:
            rows = [(m, of(records, data, m).one(seed=seed)) for m in settings.methods]
            gains = [what.sign * what.of(record).mean().item() for _, record in rows]
            correlation = rank_correlation([-run_error(record, method) for method, record in rows], gains)
            each.append(0.0 if math.isnan(correlation) else correlation)  # all equal: no order
        correlations.append(Compared(data.title, over_seeds(each)))
    texts = [f"{one.what} {written(one.by, 2, 1.0, signed=True)}" for one in correlations]
    return Finding(
        "A smaller error of the meta-gradient along training goes with a better result.",
        f"Rank correlation over {len(settings.methods)} methods of small error with accuracy (1: the order of the "
        f"errors is that of the results), mean of {len(settings.seeds)} seeds: {'; '.join(texts)}.",
        every(correlations),
    )


def _told_apart(settings: ErrorAccuracySettings, records: Records) -> Finding:
    """The same question where results differ for certain: which of two is better, and which has the smaller error."""
    parts: list[str] = []
    agreeing = total = 0
    for data in settings.data_sets:
        errors = {method: pooled_error(records, data, method)[0] for method in settings.methods}
        exceptions: dict[str, float] = {}
        apart = 0
        for pair in combinations(settings.methods, 2):
            by = contrast(records, data, {pair[0]: 1, pair[1]: -1})
            if abs(by.mean) <= by.half_width:
                continue
            apart += 1
            better, worse = pair if by.mean > 0 else pair[::-1]
            if errors[better] > errors[worse]:
                text = f"{better.label} ({errors[better]:.2g}) beats {worse.label} ({errors[worse]:.2g})"
                exceptions[text] = abs(by.mean)
        agreeing, total = agreeing + apart - len(exceptions), total + apart
        worst = sorted(exceptions, key=lambda text: (exceptions[text], text), reverse=True)
        more = [f"{len(worst) - _NAMED} more"] if len(worst) > _NAMED else []
        examples = f": {', '.join([*worst[:_NAMED], *more])}" if worst else ""
        parts.append(f"{data.title}: {apart - len(exceptions)} of {apart}{examples}")
    return Finding(
        "Of two methods whose results are told apart at 95 %, the one of smaller error is the better one.",
        f"{agreeing} of {total} pairs. {'; '.join(parts)} (in brackets: errors along training; no correction for the "
        "number of pairs).",
        None if total == 0 else agreeing == total,
    )


class Judged(Study[ErrorAccuracySettings]):
    """The part of the study that judges the claims."""

    def findings(self, settings: ErrorAccuracySettings, records: Records) -> list[Finding]:
        centered = named(settings.methods, "Binomial auto")
        judged = [_closes(settings, records, method) for method in reversed(centered) if method.order in BARS]
        for method in centered:
            if method.order == max(BARS):
                judged.append(_beats(settings, records, method, "Binomial plain", "Truncated"))
                judged.append(_beats(settings, records, method, "Binomial L/K"))
        return [*judged, _ranked(settings, records), _told_apart(settings, records)]
