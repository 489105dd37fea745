"""What error-and-accuracy says: shares of the gap between FirstOrder and Exact, and whether error decides."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from torch import tensor

from metagrad.training.evaluation import Interval
from metagrad_studies.accuracy import methods
from metagrad_studies.accuracy.comparing import Compared, every, of
from metagrad_studies.accuracy.methods import Method
from metagrad_studies.accuracy.settings import DataSet
from metagrad_studies.core.intervals import over_seeds_and_tasks, rank_correlation
from metagrad_studies.core.records import Records
from metagrad_studies.core.study import Finding
from metagrad_studies.error_and_accuracy.records import (
    ErrorAccuracySettings,
    contrast,
    pooled_error,
    run_error,
    score,
)

BARS: Mapping[int, float] = {2: 0.9, 1: 0.6}
"""The share of the gap that the learned center is to close, by order."""

_NAMED = 4  # exceptions told by name, a data set


class Share(NamedTuple):
    """How much of the gap between FirstOrder and Exact a method closes.

    Attributes:
        gap: Exact minus FirstOrder.
        closed: the method minus FirstOrder, as a part of the gap.
        beside: the method minus FirstOrder minus the asked part of the gap; its sign says whether the bar was met,
            with no ratio of two uncertain numbers.
    """

    gap: Interval
    closed: float
    beside: Interval

    @property
    def met(self) -> bool | None:
        """Whether the asked part was closed; None where the intervals do not tell, or there is no gap."""
        if self.gap.mean - self.gap.half_width <= 0:
            return None
        return Compared("", self.beside).above or (False if Compared("", self.beside).below else None)


def share(records: Records, data: DataSet, ends: tuple[Method, Method], method: Method, bar: float) -> Share:
    """Of `method` between the two ends, FirstOrder and Exact, against `bar`."""
    first, exact = ends
    gap = contrast(records, data, {exact: 1, first: -1})
    gain = contrast(records, data, {method: 1, first: -1}).mean
    beside = contrast(records, data, {method: 1, first: bar - 1, exact: -bar})
    return Share(gap, gain / gap.mean if gap.mean else math.nan, beside)


def findings(settings: ErrorAccuracySettings, records: Records) -> list[Finding]:
    """Shares by order, the rivals of equal order, then error against accuracy."""
    centered = methods.named(settings.methods, "Binomial auto")
    judged = [_closes(settings, records, method) for method in reversed(centered) if method.order in BARS]
    second = [method for method in centered if method.order == max(BARS)]
    for method in second:
        judged.append(_beats(settings, records, method, ("Binomial plain", "Truncated")))
        judged.append(_beats(settings, records, method, ("Binomial L/K",)))
    return [*judged, _ranked(settings, records), _told_apart(settings, records)]


def _ends(settings: ErrorAccuracySettings) -> tuple[Method, Method]:
    return methods.named(settings.methods, "FOMAML")[0], methods.named(settings.methods, "MAML")[0]


def _deciding(settings: ErrorAccuracySettings) -> DataSet:
    return next(data for data in settings.data_sets if data.title == settings.deciding)


def _closes(settings: ErrorAccuracySettings, records: Records, method: Method) -> Finding:
    bar, ends = BARS[method.order], _ends(settings)
    parts: list[str] = []
    for data in settings.data_sets:
        found, what = share(records, data, ends, method, bar), score(data)
        closed = f"{100 * found.closed:.0f}".replace("-", "−")
        parts.append(
            f"{data.title}: {closed} % of a gap of {what.written(found.gap, signed=True)} {what.points} "
            f"({what.written(found.beside, signed=True)} beside {100 * bar:.0f} % of it)"
        )
    return Finding(
        f"{method.label} closes at least {100 * bar:.0f} % of the gap between FirstOrder and Exact on "
        f"{settings.deciding}.",
        f"{'; '.join(parts)}.",
        share(records, _deciding(settings), ends, method, bar).met,
    )


def _beats(settings: ErrorAccuracySettings, records: Records, method: Method, names: Sequence[str]) -> Finding:
    rivals = [rival for name in names for rival in methods.named(settings.methods, name) if rival.order == method.order]

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
    found: list[Compared] = []
    for data in settings.data_sets:
        what = score(data)
        correlations = []
        for seed in settings.seeds:
            rows = [(m, r) for m in settings.methods for r in of(records, data, m) if r["seed"] == seed]
            gains = [what.sign * what.of(record).mean().item() for _, record in rows]
            errors = [run_error(record, method) for method, record in rows]
            correlation = rank_correlation([-error for error in errors], gains)
            correlations.append(tensor([0.0 if math.isnan(correlation) else correlation]))  # all equal: no order
        found.append(Compared(data.title, over_seeds_and_tasks(correlations)))
    texts = [f"{one.what} " + f"{one.by.mean:+.2f} ± {one.by.half_width:.2f}".replace("-", "−") for one in found]
    return Finding(
        "A smaller error of the meta-gradient along training goes with a better result.",
        f"Rank correlation over {len(settings.methods)} methods of small error with accuracy (1: the order of the "
        f"errors is that of the results), mean of {len(settings.seeds)} seeds: {'; '.join(texts)}.",
        every(found),
    )


def _told_apart(settings: ErrorAccuracySettings, records: Records) -> Finding:
    """The same question where results differ for certain: which of two is better, and which has the smaller error."""
    parts: list[str] = []
    agreeing = contrary = 0
    for data in settings.data_sets:
        errors = {method: pooled_error(records, data, method)[0] for method in settings.methods}
        exceptions: list[tuple[float, str]] = []
        apart = 0
        for pair in combinations(settings.methods, 2):
            by = contrast(records, data, {pair[0]: 1, pair[1]: -1})
            if abs(by.mean) <= by.half_width:
                continue
            apart += 1
            better, worse = pair if by.mean > 0 else pair[::-1]
            if errors[better] > errors[worse]:
                text = f"{better.label} ({errors[better]:.2g}) beats {worse.label} ({errors[worse]:.2g})"
                exceptions.append((abs(by.mean), text))
        contrary += len(exceptions)
        agreeing += apart - len(exceptions)
        named = [text for _, text in sorted(exceptions, reverse=True)[:_NAMED]]
        more = [f"{len(exceptions) - _NAMED} more"] if len(exceptions) > _NAMED else []
        told = f": {', '.join([*named, *more])}" if exceptions else ""
        parts.append(f"{data.title}: {apart - len(exceptions)} of {apart}{told}")
    return Finding(
        "Of two methods whose results are told apart at 95 %, the one of smaller error is the better one.",
        f"{agreeing} of {agreeing + contrary} pairs. {'; '.join(parts)} (in brackets: errors along training; no "
        "correction for the number of pairs).",
        None if agreeing + contrary == 0 else contrary == 0,
    )
