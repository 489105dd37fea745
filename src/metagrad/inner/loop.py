"""The inner loop itself: a learner adapted to one task by a rule, step after step, values only."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from metagrad import checks
from metagrad.inner.curvature import CurvatureProduct, reverse_over_reverse
from metagrad.inner.derivatives import Derivatives, Direct
from metagrad.inner.learner import Learner, Metrics
from metagrad.inner.rules import State, UpdateRule
from metagrad.inner.trajectory import Stored, Trajectory
from metagrad.tasks.task import Task
from metagrad.tree import Tree


@dataclass(frozen=True)
class InnerLoop:
    """What happens within a task: a learner, adapted by a rule for a number of steps.

    Args:
        learner: which parameters adapt, and with which losses.
        rule: how one inner step moves them.
        num_steps: K, at least 1.
        curvature: how one curvature product is done.
        link_chunk: how many inner steps' products run side by side; None for all, 1 for one at a time.
        reuse: of how many of the last inner steps the graph of the gradient is kept for the curvature products; the
            others build it again. Memory: `reuse` graphs of one inner gradient for each task that runs side by side,
            whatever the number of steps. Saves one gradient a product. Only for `reverse_over_reverse`.
        trajectory: which states and gradients are kept and which recomputed on the way back, from
            `metagrad.inner.trajectory`; it applies to the steps before the last `reuse`, which are kept in any case.

    Raises:
        TypeError: `rule` is not an update rule, or `trajectory` is not a trajectory.
        ValueError: `num_steps` or `link_chunk` below 1, `reuse` negative or with another curvature product.
    """

    learner: Learner
    rule: UpdateRule
    num_steps: int
    curvature: CurvatureProduct = reverse_over_reverse
    link_chunk: int | None = None
    reuse: int = 0
    trajectory: Trajectory = field(default_factory=Stored)

    def __post_init__(self) -> None:
        if isinstance(self.rule, type) or not isinstance(self.rule, UpdateRule):
            raise TypeError(f"rule must be an update rule such as SGD(lr=0.01), got {self.rule!r}")
        if not isinstance(self.trajectory, Trajectory):
            raise TypeError(
                f"trajectory must be Stored(), SquareRoot(), Logarithmic() or Slots(count=...), got {self.trajectory!r}"
            )
        checks.integer("num_steps", self.num_steps, least=1)
        if self.link_chunk is not None:
            checks.integer("link_chunk", self.link_chunk, least=1)
        checks.integer("reuse", self.reuse, least=0)
        if self.reuse and self.curvature is not reverse_over_reverse:
            raise ValueError(
                f"reuse={self.reuse} keeps the graph of inner gradients, which {self.curvature.__name__} does not use; "
                "take reuse=0 or curvature=reverse_over_reverse"
            )

    def initial_state(self, meta: Tree) -> State:
        """The state before the first inner step."""
        return self.rule.initial_state(self.learner.start(meta))

    def derivatives(self) -> Direct:
        """Those of its learner, computed when asked for."""
        return Direct(self.learner, self.curvature)


class Step(NamedTuple):
    """One inner step: the state before, the gradient and loss (0-d) there, and the state after."""

    state: State
    gradient: Tree
    loss: Tensor
    after: State


def steps(loop: InnerLoop, meta: Tree, gradient: Callable[[Tree], tuple[Tree, Tensor]], count: int) -> Iterator[Step]:
    """Take `count` inner steps along `gradient` (adapted ↦ gradient and 0-d loss), values only; `count` may be 0.

    Cost: one gradient a step; memory for one step, unless the caller keeps more.
    """
    state = loop.initial_state(meta)
    for _ in range(count):
        slope, loss = gradient(state["adapted"])
        after = loop.rule.step(state, slope, rule_part(meta))
        yield Step(state, slope, loss, after)
        state = after


def adapting_steps(
    loop: InnerLoop, meta: Tree, task: Task, count: int, derivatives: Derivatives | None = None
) -> Iterator[Step]:
    """Take `count` inner steps on the support loss of one task."""
    derivatives = derivatives or loop.derivatives()
    return steps(loop, meta, lambda adapted: derivatives.gradient(adapted, meta, task.support), count)


def adapted(loop: InnerLoop, meta: Tree, taken: Iterator[Step]) -> Tree:
    """The adapted parameters after the last of some steps, or at the start if there are none."""
    state = loop.initial_state(meta)
    for step in taken:
        state = step.after
    return state["adapted"]


def rule_part(meta: Tree) -> Tree:
    """The part of the meta-parameters that belongs to the update rule; {} for none."""
    return meta.get("rule", {}) if isinstance(meta, dict) else {}


def adaptation_curve(loop: InnerLoop, meta: Tree, task: Task, num_steps: int) -> dict[str, Tree]:
    """Query "loss" and "metrics" of one task after 0, 1, … S inner steps: [S + 1] each. Cost: S gradients."""

    def measure(state: State) -> tuple[Tensor, Metrics]:
        return loop.learner.query_loss(state["adapted"], meta, task.query)

    measured = [measure(loop.initial_state(meta))]
    measured += [measure(step.after) for step in adapting_steps(loop, meta, task, num_steps)]
    return {
        "loss": torch.stack([loss for loss, _ in measured]),
        "metrics": {name: torch.stack([m[name] for _, m in measured]) for name in measured[0][1]},
    }
