"""The inner loop itself: a learner adapted to one task by a rule, step after step, values only."""

import textwrap
from dataclasses import dataclass, field

from metagrad import checks
from metagrad.inner.curvature import CurvatureProduct, reverse_over_reverse
from metagrad.inner.derivatives import Derivatives, Direct, linearise
from metagrad.inner.learner import Learner
from metagrad.inner.micro_batches import MicroBatched
from metagrad.inner.motion import Evidence, Motion, Slope
from metagrad.inner.randomness import task_seed
from metagrad.inner.trajectory import Stored, Trajectory
from metagrad.rules import State, UpdateRule
from metagrad.task import Steps, Task
from metagrad.tree import Tree

QUERY = -1
"""The step under whose seed random layers draw while the query loss is measured."""


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
        seed: of random models: every evaluation at step k of a task draws under a seed made of this number, the task's
            values and k. Tasks and links then run one at a time. None for models that draw nothing.
        micro_batches: into how many parts each batch is divided; losses must be means over examples.

    Raises:
        TypeError: `rule` is not an update rule, or `trajectory` is not a trajectory.
        ValueError: `num_steps` or `link_chunk` below 1, `reuse` negative or with another curvature product.

    Example:
        >>> import torch
        >>> from metagrad import SGD, WholeModel
        >>> loop = InnerLoop(WholeModel(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss), SGD(lr=0.1), num_steps=5)
        >>> loop.num_steps
        5
    """

    learner: Learner
    rule: UpdateRule
    num_steps: int
    curvature: CurvatureProduct = reverse_over_reverse
    link_chunk: int | None = None
    reuse: int = 0
    trajectory: Trajectory = field(default_factory=Stored)
    seed: int | None = None
    micro_batches: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.rule, type) or not isinstance(self.rule, UpdateRule):
            given = textwrap.shorten(repr(self.rule), 60)  # that of a torch optimizer has many lines
            raise TypeError(f"rule must be an update rule such as metagrad.SGD(lr=0.01), got {given}")
        if not isinstance(self.trajectory, Trajectory):
            raise TypeError(
                f"trajectory must be Stored(), SquareRoot(), Logarithmic() or Slots(count=...), got {self.trajectory!r}"
            )
        checks.integer("num_steps", self.num_steps, least=1)
        if self.link_chunk is not None:
            checks.integer("link_chunk", self.link_chunk, least=1)
        checks.integer("reuse", self.reuse, least=0)
        checks.integer("micro_batches", self.micro_batches, least=1)
        if self.reuse and self.micro_batches > 1:
            raise ValueError(f"reuse={self.reuse} keeps graphs of whole batches, so micro_batches must be 1")
        if self.reuse and self.curvature is not reverse_over_reverse:
            raise ValueError(
                f"reuse={self.reuse} keeps the graph of inner gradients, which {self.curvature.__name__} does not use; "
                "take reuse=0 or curvature=reverse_over_reverse"
            )

    def initial_state(self, meta: Tree) -> State:
        """The state before the first inner step."""
        return self.rule.initial_state(self.learner.start(meta))

    def derivatives(self) -> Derivatives:
        """Those of its learner, computed when asked for."""
        return self.in_parts(Direct(self.learner, self.curvature))

    def in_parts(self, derivatives: Derivatives) -> Derivatives:
        """Derivatives of whole batches by way of their parts, where there are several."""
        return derivatives if self.micro_batches == 1 else MicroBatched(derivatives, self.micro_batches)

    def evidence(self, task: Task, num_steps: int) -> Evidence:
        """What one task gives to `num_steps` inner steps.

        Raises:
            ValueError: `Steps` of another length; fewer steps than it holds may be taken in an evaluation.
        """
        if isinstance(task.support, Steps):
            task.support.check(self.num_steps)
            task.support.check(max(num_steps, self.num_steps))
        return Evidence(task.support, None if self.seed is None else task_seed(task, self.seed))

    def motion(self, meta: Tree, evidence: Evidence, derivatives: Derivatives) -> Motion:
        """Its steps on one task."""

        def slope(state: State, k: int) -> Slope:
            with evidence.seeded(k):
                return Slope(*derivatives.gradient(state["adapted"], meta, evidence.at(k)))

        return Motion(self.rule, rule_part(meta), slope, evidence.offset)

    def keeping_graphs(self, meta: Tree, evidence: Evidence) -> Motion:
        """The same steps with the graph of each gradient kept for its curvature product."""

        def slope(state: State, k: int) -> Slope:
            with evidence.seeded(k):
                return Slope(*linearise(self.learner, state["adapted"], meta, evidence.at(k)))

        return Motion(self.rule, rule_part(meta), slope, evidence.offset)


def rule_part(meta: Tree) -> Tree:
    """The part of the meta-parameters that belongs to the update rule; {} for none."""
    return meta.get("rule", {}) if isinstance(meta, dict) else {}
