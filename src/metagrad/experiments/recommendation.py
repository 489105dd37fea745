"""What a comparison says about the choice: which estimators no other beats, and which of them `Auto` would take."""

from collections.abc import Callable, Sequence

from metagrad.choosing import Auto, Decision, decide
from metagrad.choosing.auto import DEFAULT_TOLERANCE
from metagrad.estimators.families import candidates
from metagrad.experiments.compare import Row
from metagrad.experiments.config import Experiment
from metagrad.experiments.expression import short


def policy(config: Experiment) -> Auto:
    """What is wanted: the experiment's own `Auto`, or that of "auto" alone."""
    return config.estimator if isinstance(config.estimator, Auto) else Auto(tolerance=DEFAULT_TOLERANCE)


def recommended(config: Experiment, rows: Sequence[Row]) -> Decision | None:
    """What `policy(config)` would choose by the errors and the memory in `rows`; None where no row is affordable.

    The rule is that of training, with the compared tasks in place of its probes.
    """
    auto = policy(config)
    by_name = {row.estimator: row for row in rows if row.proximal == config.proximal}
    affordable = [
        estimator
        for estimator in candidates(config.num_steps)
        if short(estimator) in by_name
        and auto.allows(estimator, config.num_steps)
        and (auto.memory is None or by_name[short(estimator)].peak_bytes <= auto.memory)
    ]
    if not affordable:
        return None
    return decide(auto, affordable, lambda estimator, _limit: by_name[short(estimator)].error[2], None)


def frontier(config: Experiment, rows: Sequence[Row], cost: Callable[[Row], float]) -> list[Row]:
    """Estimators of the experiment's own meta-gradient that none beats in error without costing more; cheapest first.

    The error is the median over tasks. A direction that is no gradient is left out, and so are estimators that were
    given an anchor of their own, which solve another problem.
    """
    comparable = [row for row in rows if row.estimates != "direction" and row.proximal == config.proximal]
    kept: list[Row] = []
    for row in sorted(comparable, key=lambda row: (cost(row), row.error[1])):
        if not kept or row.error[1] < kept[-1].error[1]:
            kept.append(row)
    return kept
