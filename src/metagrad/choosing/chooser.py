"""Carries out an `Auto`: when to decide, on which tasks, within which memory, and whom to look at again."""

import itertools
import logging
import math
import zlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from metagrad.choosing.auto import LOOKS, Auto, Decision, decide, settle, upper_quartile
from metagrad.choosing.foresight import foreseen_bytes
from metagrad.estimators import Estimator, Exact
from metagrad.estimators.families import candidates, shipped
from metagrad.inner.loop import InnerLoop
from metagrad.prepared import Prepared
from metagrad.probing import TaskProbe, first_tasks
from metagrad.tree import Tree

ALARM = 2.0
"""Multiple of the tolerance above which the estimator's own error estimate brings the next decision forward."""

PATIENCE = 10
"""Part of the interval between decisions that has to pass before one can be brought forward."""


@dataclass(frozen=True)
class Doubts:
    """Errors of candidates near the tolerance, cheapest first, on the tasks of `looks` measurements; none at first."""

    errors: Mapping[Estimator, tuple[float, ...]] = field(default_factory=dict[Estimator, tuple[float, ...]])
    looks: int = 0


@dataclass(frozen=True)
class Proposal:
    """The estimator for one meta-gradient, and what the chooser's state is if that succeeds."""

    estimator: Estimator
    decision: Decision | None
    decided_at: int
    doubts: Doubts


class Chooser(nn.Module):
    """The estimator of each meta-gradient, by measurements on its own tasks.

    State, saved with the module: how many meta-gradients were taken, at which of them it was decided, which candidate
    is in use, whether a decision is due, and the errors so far of those in doubt. All else follows from that and the
    tasks: equal states choose alike.

    Args:
        auto: what is wanted.
        num_steps: K.
    """

    def __init__(self, auto: Auto, num_steps: int) -> None:
        super().__init__()
        self.auto = auto
        self.candidates = candidates(num_steps)
        self._numbers = _numbers(self.candidates)
        self.decision: Decision | None = None
        self._allowed = [estimator for estimator in self.candidates if auto.allows(estimator, num_steps)]
        self._taken = 0
        self._decided_at = 0
        self._chosen: Estimator | None = None
        self._due = True
        self._doubts = Doubts()
        self._needs: dict[Hashable, dict[Estimator, int]] = {}  # found once for each kind of meta-batch

    @property
    def in_use(self) -> Estimator | None:
        """The estimator chosen last; None before the first decision."""
        return self._chosen

    def propose(self, loop: InnerLoop, meta: Tree, tasks: Prepared, task_chunk: int | None) -> Proposal:
        """The estimator for a meta-gradient of these tasks: that in use, or a new decision where one is due.

        Raises:
            ValueError: no candidate fits the memory, or it cannot be foreseen.
        """
        if self.in_use is not None and not self._due:
            if not self._doubts.errors:
                return Proposal(self.in_use, None, self._decided_at, Doubts())
            return self._look_again(self.in_use, _Measured(loop, meta, tasks, self.auto.probes))
        affordable = self._affordable(loop, meta, tasks, task_chunk)
        measure = _Measured(loop, meta, tasks, self.auto.probes)
        decision = decide(self.auto, affordable, measure, self.in_use)
        doubts = Doubts({estimator: measure.errors[estimator] for estimator in decision.doubtful}, looks=1)
        return Proposal(decision.estimator, decision, self._taken, doubts if doubts.errors else Doubts())

    def _look_again(self, in_use: Estimator, measure: "_Measured") -> Proposal:
        """The estimator in use goes on; others in doubt are measured too, and judged after the last look."""
        errors = {
            estimator: (*each, *measure.errors[estimator])
            for estimator, each in self._doubts.errors.items()
            if math.isfinite(measure(estimator, math.inf))  # else it is in doubt no longer
        }
        if self._doubts.looks + 1 < LOOKS:
            return Proposal(in_use, None, self._decided_at, Doubts(errors, self._doubts.looks + 1))
        decision = settle(self.auto, errors, in_use)
        return Proposal(decision.estimator if decision else in_use, decision, self._decided_at, Doubts())

    def commit(self, proposal: Proposal, diagnostics: Mapping[str, Tensor]) -> None:
        """The proposed meta-gradient was taken: count it, and look at what the estimator says of its own error."""
        self.decision = proposal.decision
        if proposal.decision is not None:
            logging.getLogger("metagrad.choosing").info(proposal.decision.why)
        self._chosen = proposal.estimator
        self._decided_at = proposal.decided_at
        self._doubts = proposal.doubts
        self._taken += 1
        since = self._taken - self._decided_at
        own = diagnostics.get("error_estimate")
        alarm = own is not None and own.median().item() > ALARM * self.auto.target > 0
        self._due = since >= self.auto.every or (alarm and since * PATIENCE >= self.auto.every)

    def get_extra_state(self) -> Tensor:
        """In float64 [meta-gradients taken, that of the last decision, candidate in use or −1, whether one is due].

        Where some are in doubt there follow the looks so far and the number n of their tasks, then for each in doubt
        the candidate and n errors.
        """
        chosen = -1 if self._chosen is None else self._numbers[self._chosen]
        numbers = [self._taken, self._decided_at, chosen, int(self._due)]
        rows = [[self._numbers[estimator], *each] for estimator, each in self._doubts.errors.items()]
        looked = [self._doubts.looks, len(rows[0]) - 1] if rows else []
        return torch.tensor([*numbers, *looked, *itertools.chain.from_iterable(rows)], dtype=torch.float64)

    def set_extra_state(self, state: Any) -> None:
        """Continue where `state` was taken.

        Raises:
            ValueError: a state of other candidates: another K, another version, or an estimator that is not
                registered; or none at all.
        """
        plain = isinstance(state, Tensor) and state.dim() == 1 and state.dtype == torch.float64
        numbers: list[float] = state.tolist() if plain else []
        head, looked, rest = numbers[:4], numbers[4:6] or [0.0, 0.0], numbers[6:]
        width = int(looked[1]) + 1 if len(looked) == 2 and looked[1].is_integer() and looked[1] >= 0 else 0
        rows = [rest[at : at + width] for at in range(0, len(rest), width)] if width else []
        by_number = {number: estimator for estimator, number in self._numbers.items()}
        whole, named = [*head[:2], *head[3:], *looked[:1]], [*head[2:3], *(row[0] for row in rows)]
        if (
            not width
            or len(head) < 4
            or any(len(row) < width for row in rows)
            or not all(number.is_integer() and number >= 0 for number in whole)
            or not {-1, *by_number}.issuperset(named)
        ):
            raise ValueError(
                f"the state {numbers[:8] if plain else type(state).__name__} of estimator='auto' does not fit its "
                f"{len(self.candidates)} candidates; it was saved with another num_steps, another version of metagrad, "
                "or an estimator of your own that is not registered now"
            )
        taken, decided_at, chosen, due = (int(number) for number in head)
        self._taken, self._decided_at = taken, decided_at
        self._chosen, self._due = by_number.get(chosen), bool(due)
        self._doubts = Doubts({by_number[int(row[0])]: tuple(row[1:]) for row in rows}, int(looked[0]))
        self.decision = None

    def _affordable(self, loop: InnerLoop, meta: Tree, tasks: Prepared, task_chunk: int | None) -> list[Estimator]:
        """Candidates within the budget of memory, if there is one; a probe of Exact needs to fit as well."""
        if self.auto.memory is None:
            return self._allowed
        kinds = (tuple((leaf.shape, leaf.dtype) for part in group for leaf in part) for _, group in tasks.groups)
        needs = self._needs.setdefault((task_chunk, *kinds), {})
        # The most accurate of all needs no comparison, and so no other's memory.
        for estimator in [Exact()] if self.auto.target == 0.0 and Exact() in self._allowed else []:
            if self._need(needs, estimator, loop, meta, tasks, task_chunk) <= self.auto.memory:
                return [estimator]
        fitting = [
            estimator
            for estimator in self._allowed
            if self._need(needs, estimator, loop, meta, tasks, task_chunk) <= self.auto.memory
        ]
        if fitting:
            return fitting
        least = min(needs, key=lambda estimator: needs[estimator])
        raise ValueError(
            f"memory={self.auto.memory:g} bytes is too little for any estimator within the budget: the smallest, "
            f"{least!r}, needs {needs[least]:,} with its probe; allow that, or lower task_chunk or link_chunk"
        )

    def _need(
        self,
        needs: dict[Estimator, int],
        estimator: Estimator,
        loop: InnerLoop,
        meta: Tree,
        tasks: Prepared,
        task_chunk: int | None,
    ) -> int:
        if estimator not in needs:
            needs[estimator] = foreseen_bytes(loop, estimator, meta, tasks, task_chunk, self.auto.probes)
        return needs[estimator]


def _numbers(listed: list[Estimator]) -> dict[Estimator, int]:
    """What a saved state calls each: those of this package by place, a user's by its name, whatever is registered."""
    own = [estimator for estimator in listed if type(estimator) not in shipped()]
    numbers = {estimator: place for place, estimator in enumerate(each for each in listed if each not in own)}
    return numbers | {estimator: 2**32 + zlib.crc32(repr(estimator).encode()) for estimator in own}


class _Measured:
    """Upper quartiles of errors over the first tasks, each estimator on one task after the other."""

    def __init__(self, loop: InnerLoop, meta: Tree, tasks: Prepared, count: int) -> None:
        self.errors: dict[Estimator, tuple[float, ...]] = {}
        self._loop, self._meta = loop, meta
        self._tasks = first_tasks(tasks, count)
        self._probes: list[TaskProbe] = []

    def __call__(self, estimator: Estimator, limit: float) -> float:
        errors: list[float] = []
        for number, task in enumerate(self._tasks):
            if number == len(self._probes):
                self._probes.append(TaskProbe(self._loop, self._meta, task))
            errors.append(self._probes[number].measure(estimator).error)
            if not errors[0] <= limit:
                break
        self.errors[estimator] = tuple(errors)
        return upper_quartile(errors)
