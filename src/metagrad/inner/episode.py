"""One task after its inner loop: linearised for estimators, and measured.

Everything here is for a single task, without a task axis, and pure; `batching` maps it over tasks. States and gradients
are kept as values, or recomputed, as the loop's trajectory says; graphs of one step are built again when a curvature
product asks for them, unless the loop reuses.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from torch import Tensor
from torch.func import vjp

from metagrad import tree
from metagrad.inner.chain import LinearisedLoop
from metagrad.inner.derivatives import Derivatives, Outer
from metagrad.inner.links import Path
from metagrad.inner.loop import QUERY, InnerLoop
from metagrad.inner.motion import Evidence, Slope
from metagrad.inner.trajectory import taken
from metagrad.objectives import Metrics
from metagrad.rules import State
from metagrad.rules.base import smooth
from metagrad.task import Steps, Task
from metagrad.tree import Tree


class Run:
    """An inner loop of `loop.num_steps` steps that was run on the data of one task, from a state.

    Attributes:
        chain: the inner loop linearised along its trajectory.
        first, last: the states before and after it.
        losses: the support loss (0-d) at the start of each of the K steps.
    """

    def __init__(self, loop: InnerLoop, derivatives: Derivatives, meta: Tree, evidence: Evidence, first: State) -> None:
        rebuilt = max(loop.num_steps - loop.reuse, 0)
        motion = loop.motion(meta, evidence, derivatives)
        links, losses, state = loop.trajectory.record(motion, first, rebuilt)
        kept, late_losses, last = taken(loop.keeping_graphs(meta, evidence), state, range(rebuilt, loop.num_steps))
        self.losses = losses + late_losses
        self.first, self.last = first, last
        path = Path(links, kept, last, range(loop.num_steps))
        self.chain = LinearisedLoop(loop, derivatives, meta, evidence, path)


class TaskEpisode:
    """One task after its inner loop, as estimators see it.

    Attributes:
        chain: the inner loop linearised along its trajectory.
        support_losses: the support loss (0-d) at the start of each of the K steps.
    """

    def __init__(self, loop: InnerLoop, meta: Tree, task: Task, derivatives: Derivatives | None = None) -> None:
        self._loop, self._meta, self._task = loop, meta, task
        self._derivatives: Derivatives = derivatives or loop.derivatives()
        self._evidence = loop.evidence(task, loop.num_steps)
        self._outer: Outer | None = None
        self._run = Run(loop, self._derivatives, meta, self._evidence, loop.initial_state(meta))
        self.chain, self.support_losses = self._run.chain, self._run.losses

    @property
    def loss(self) -> Tensor:
        """Query loss after adaptation, 0-d."""
        return self._measured.loss

    @property
    def metrics(self) -> Metrics:
        """Query metrics after adaptation, 0-d each."""
        return self._measured.metrics

    def outer(self) -> tuple[Tree, Tree]:
        """Gradient of the query loss with respect to the last state, and to what it reads of the meta-parameters."""
        return {"adapted": self._measured.adapted}, self._measured.context

    def from_start(self, cotangent: Tree) -> Tree:
        """Transpose of meta-parameters ↦ first state; an empty cotangent reaches nothing."""
        return from_start(self._loop, self._meta, self._run.first, cotangent)

    def displacement(self) -> Tree:
        """First state minus last state: adapted parameters only."""
        return {"adapted": tree.subtract(self._run.first["adapted"], self._run.last["adapted"])}

    def nudged(self, nudge: float) -> Tree:
        """∂/∂m of support loss + nudge·query loss where the inner loop on that sum, from the same start, ends.

        Raises:
            ValueError: the data differ from step to step, so that there is no inner problem to solve.
        """
        if isinstance(self._task.support, Steps):
            raise ValueError(
                "FiniteDifference solves one inner problem, and a support set of Steps poses another at each step; "
                "give one support set, or take Exact() or Binomial(order=2)"
            )
        learner, support = self._loop.learner, self._task.support
        context = learner.context(self._meta)

        def objective(phi: Tree, part: Tree) -> Tensor:
            meta = tree.overlay(self._meta, part)
            query, _ = learner.query_loss(phi, meta, self._task.query)
            return learner.support_loss(phi, meta, support) + nudge * query

        def slope(state: State, k: int) -> Slope:
            with self._evidence.seeded(k):
                return Slope(*self._derivatives.descend(lambda phi: objective(phi, context), state["adapted"]))

        end = self._run.last["adapted"]
        if nudge != 0.0:
            motion = replace(self._loop.motion(self._meta, self._evidence, self._derivatives), slope=slope)
            end = motion.last(self._run.first, 0, self._loop.num_steps)["adapted"]
        with self._evidence.seeded(QUERY):
            return self._derivatives.descend(lambda part: objective(end, part), context)[0]

    @property
    def _measured(self) -> Outer:
        # No `cached_property`: before Python 3.12 all instances share its lock, and threads would wait for one another.
        if self._outer is None:
            with self._evidence.seeded(QUERY):
                self._outer = self._derivatives.outer(self._run.last["adapted"], self._meta, self._task.query)
        return self._outer


def from_start(loop: InnerLoop, meta: Tree, first: State, cotangent: Tree) -> Tree:
    """Transpose of meta-parameters ↦ first state; an empty cotangent reaches nothing."""
    initial = loop.learner.initial(meta)
    if not tree.leaves(cotangent) or not tree.leaves(initial):
        return {}
    handed_on = _handed_on(initial, first, cotangent)
    if handed_on is not None:
        return handed_on

    def first_state(part: Tree) -> Tree:
        return smooth(cast(Tree, loop.initial_state(tree.overlay(meta, part))))

    state, pull = cast("tuple[Tree, Callable[[Tree], tuple[Tree]]]", vjp(first_state, initial))
    return pull(tree.restrict(tree.fill(cotangent, cast(Tree, first)), state))[0]


def _handed_on(initial: Tree, first: State, cotangent: Tree) -> Tree | None:
    """The cotangent where the first state consists of meta-parameters as they are: nothing to differentiate."""
    state = cast(Tree, first)
    cotangents = tree.leaves(tree.fill(cotangent, state))
    by_leaf = {id(leaf): part for leaf, part in zip(tree.leaves(state), cotangents, strict=True)}
    wanted = [id(leaf) for leaf in tree.leaves(initial)]
    if sorted(wanted) != sorted(by_leaf) or len(by_leaf) != len(cotangents):
        return None
    return tree.map(lambda leaf: by_leaf[id(leaf)], initial)
