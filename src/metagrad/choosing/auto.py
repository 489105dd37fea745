"""What is wanted of a meta-gradient, the estimators that may give it, and the rule that picks one by their errors."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from metagrad import checks
from metagrad.estimators import Estimator, Exact, families

DEFAULT_TOLERANCE = 0.1
"""Of "auto" where nothing else is said."""

MARGIN = 1.5
"""Factor by which an estimator has to be better than needed to be taken up at one look."""

LOOKS = 3
"""Meta-batches on which those within the margin of the tolerance, on either side, are looked at before they are judged
without a margin."""

HOPELESS = 3.0
"""Multiple of the target above which one task is enough to drop an estimator."""


@dataclass(frozen=True)
class Auto:
    """An estimator chosen, and chosen again during training, by errors measured against `Exact` on tasks at hand.

        the cheapest with  upper quartile over tasks of ‖estimate − exact‖ / ‖exact‖ ≤ tolerance, else the most accurate

    Cheap means few rounds, then few products. Candidates are the members of every family of estimators, among them
    `FirstOrder`, `Truncated(w)`, `Binomial(L)` and `Exact`, and those that users registered.
    Without a budget of rounds or memory none may take more products than `Exact`, so that where no other meets the
    tolerance it is `Exact`. A budget is never exceeded: within it the cheapest that meets the tolerance, or the most
    accurate, is taken, whatever its products.

    Each decision measures on the first `probes` tasks of the meta-batch, as written, one task and one product at a
    time; an estimator that is `HOPELESS` on the first is dropped there, and those dearer than one that will do are not
    measured. The one in use stays until it misses the tolerance, or another is better than needed by `MARGIN`. Cheaper
    ones that are near the tolerance are measured again on the next meta-batches, `LOOKS` in all, and then judged by the
    tolerance itself on all those tasks together. Decisions are taken at the first meta-gradient and at every `every`-th
    after it, and sooner, but not within a tenth of that, when the estimator's own error estimate is above twice the
    tolerance.

    Cost: with K inner steps a decision takes up to about K² products more than `Exact` on one task, and most of that on
    the first task only; as written: the time of some 40 meta-steps on a network as small as the sinusoid's (25 tasks,
    K = 5), of 10 on Conv4 (4 tasks). A further look takes `Exact` and what is looked at, on as many tasks. A new choice
    is traced anew by `capture="whole"`. When it is wrong: between decisions, where errors grow quickly and the
    estimator cannot tell; on tasks unlike those at hand.

    Args:
        tolerance: target relative error of one task's meta-gradient; None for the most accurate within the budget.
        rounds: most products that wait for one another.
        memory: most bytes of tensors held at once by one meta-gradient over the meta-batch, or by a probe, beyond model
            and tasks, evaluated as written (compiled code holds about as much, or less). Foreseen by a run on shapes
            alone, so that nothing too large is ever tried.
        every: meta-gradients from one decision to the next.
        probes: tasks of one decision.

    Raises:
        TypeError: a number of the wrong type.
        ValueError: a number out of range, or neither a tolerance nor a budget.

    Example:
        >>> Auto(rounds=2).allows(Exact(), num_steps=5)
        False
    """

    tolerance: float | None = None
    rounds: int | None = None
    memory: float | None = None
    every: int = 250
    probes: int = 8

    def __post_init__(self) -> None:
        if self.tolerance is self.rounds is self.memory is None:
            raise ValueError("Auto needs to know what is wanted: tolerance=0.1, or a budget, rounds=2 or memory=2e9")
        if self.tolerance is not None:
            checks.number("tolerance", self.tolerance, above=0)
        if self.rounds is not None:
            checks.integer("rounds", self.rounds, least=0)
        if self.memory is not None:
            checks.number("memory (bytes)", self.memory, above=0)
        checks.integer("every", self.every, least=1)
        checks.integer("probes", self.probes, least=1)

    @property
    def target(self) -> float:
        """The tolerance, and 0 where the most accurate is wanted."""
        return self.tolerance or 0.0

    def allows(self, estimator: Estimator, num_steps: int) -> bool:
        """Whether its products and rounds are within what may be spent on a loop of `num_steps` steps."""
        cost = estimator.cost(num_steps)
        if self.rounds is not None:
            return cost.rounds <= self.rounds
        return self.memory is not None or cost.products <= num_steps


def wanted(estimator: object) -> Estimator | Auto:
    """What is to be used: an estimator or an `Auto` as it is, or what a name stands for.

        >>> wanted("auto"), wanted("maml")
        (Auto(tolerance=0.1, rounds=None, memory=None, every=250, probes=8), Exact())

    Raises:
        TypeError: not an estimator.
        ValueError: an unknown name.
    """
    if estimator == "auto":
        return Auto(tolerance=DEFAULT_TOLERANCE)
    if isinstance(estimator, str):
        return families.named(estimator)
    if not isinstance(estimator, Estimator | Auto):
        raise TypeError(
            "estimator must be one such as Exact() or Binomial(order=2), Auto(tolerance=0.1), or a name such as 'maml' "
            f"or 'auto', got {estimator!r}"
        )
    return estimator


@dataclass(frozen=True)
class Decision:
    """What was chosen, and why.

    Attributes:
        estimator: the choice.
        before: what was in use; None at the first decision.
        measured: upper quartile of the relative error over the probed tasks, by estimator; those that were dropped
            early have the error of fewer tasks.
        why: a sentence.
        doubtful: those cheaper than the choice whose error is within `MARGIN` of the tolerance.
    """

    estimator: Estimator
    before: Estimator | None
    measured: dict[Estimator, float]
    why: str
    doubtful: tuple[Estimator, ...] = ()


Measure = Callable[[Estimator, float], float]
"""Upper quartile of an estimator's error; it may stop, and return what it has, where that is above a limit."""


def decide(auto: Auto, affordable: Sequence[Estimator], measure: Measure, before: Estimator | None) -> Decision:
    """The rule: the cheapest of `affordable` that meets the target, else the most accurate.

    Args:
        auto: what is wanted.
        affordable: candidates within the budget, cheapest first; at least one.
        measure: their errors; `Exact` is not asked for. NaN counts as infinite.
        before: the one in use.
    """
    errors: dict[Estimator, float] = {}
    doubtful: list[Estimator] = []
    target = auto.target
    for estimator in affordable:
        if estimator == Exact() or (target == 0.0 and Exact() in affordable):
            continue
        error = measure(estimator, HOPELESS * target if target > 0 else math.inf)
        errors[estimator] = math.inf if math.isnan(error) else error
        if errors[estimator] <= (target if estimator == before else target / MARGIN):
            return _decided(estimator, before, errors, f"the cheapest within the tolerance of {target:g}", doubtful)
        if errors[estimator] <= target * MARGIN:
            doubtful.append(estimator)
    if Exact() in affordable:
        reason = f"no cheaper one is within the tolerance of {target:g}" if target > 0 else "it fits the budget"
        return _decided(Exact(), before, errors, reason, doubtful)
    best = min(errors, key=lambda estimator: errors[estimator])
    if before in errors and errors[before] <= MARGIN * errors[best]:
        best = before
    doubtful = [estimator for estimator in doubtful if estimator != best]
    return _decided(best, before, errors, "the most accurate within the budget", doubtful)


def settle(auto: Auto, looked: Mapping[Estimator, Sequence[float]], before: Estimator) -> Decision | None:
    """The rule after `LOOKS` looks: the cheapest of the doubtful that is within the target on all their tasks together.

    Args:
        auto: what is wanted.
        looked: errors of each doubtful estimator on all tasks of all looks, cheapest first.
        before: the one in use; where none of these will do it stays, and there is no decision.
    """
    errors = {estimator: upper_quartile(each) for estimator, each in looked.items()}
    for estimator, error in errors.items():
        if error <= auto.target:
            tasks = len(looked[estimator])
            reason = f"within the tolerance of {auto.target:g} on {tasks} tasks of {LOOKS} meta-batches"
            return _decided(estimator, before, errors, reason, ())
    return None


def upper_quartile(errors: Sequence[float]) -> float:
    """Of some errors; NaN if one is."""
    return torch.tensor(errors, dtype=torch.float64).quantile(0.75).item()


def _decided(
    chosen: Estimator,
    before: Estimator | None,
    errors: dict[Estimator, float],
    reason: str,
    doubtful: Sequence[Estimator],
) -> Decision:
    error = f"error {errors[chosen]:.2g}, " if chosen in errors else ""
    change = f"{chosen!r} stays" if chosen == before else f"{chosen!r} from now on"
    again = f"; {', '.join(map(repr, doubtful))} near it, to be looked at again" if doubtful else ""
    return Decision(chosen, before, errors, f"{change}: {error}{reason}{again}", tuple(doubtful))
