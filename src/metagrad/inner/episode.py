"""One task in one inner loop: run, linearise, measure.

Everything here is for a single task, without a task axis, and pure; `batching` maps it over tasks. The trajectory is
kept detached, as values only; graphs of one step are built again when a curvature product asks for them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vjp, vmap

from metagrad import checks, tree
from metagrad.estimators.base import Pulled
from metagrad.inner.curvature import CurvatureProduct, reverse_over_reverse
from metagrad.inner.learners import Learner, Metrics
from metagrad.inner.rules import State, UpdateRule
from metagrad.tasks.task import Batch, Task
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

    Raises:
        ValueError: `num_steps` or `link_chunk` below 1.
    """

    learner: Learner
    rule: UpdateRule
    num_steps: int
    curvature: CurvatureProduct = reverse_over_reverse
    link_chunk: int | None = None

    def __post_init__(self) -> None:
        checks.integer("num_steps", self.num_steps, least=1)
        if self.link_chunk is not None:
            checks.integer("link_chunk", self.link_chunk, least=1)

    def initial_state(self, meta: Tree) -> State:
        """The state before the first inner step."""
        return self.rule.initial_state(self.learner.start(meta))


class Trajectory(NamedTuple):
    """K + 1 states, the K gradients between them, and the K support losses (0-d) at the start of each step."""

    states: list[State]
    gradients: list[Tree]
    losses: list[Tensor]


def unroll(
    loop: InnerLoop, meta: Tree, objective: Callable[[Tree], Tensor], num_steps: int | None = None
) -> Trajectory:
    """Run the inner loop on `objective` (adapted ↦ 0-d loss) and keep values only. Cost: one gradient a step.

    `num_steps` may differ from the loop's, and be 0.
    """
    trajectory = Trajectory([loop.initial_state(meta)], [], [])
    descend = grad_and_value(objective)
    for _ in range(loop.num_steps if num_steps is None else num_steps):
        state = trajectory.states[-1]
        gradient, loss = descend(state["adapted"])
        trajectory.gradients.append(gradient)
        trajectory.losses.append(loss)
        trajectory.states.append(loop.rule.step(state, gradient, rule_part(meta)))
    return trajectory


def rule_part(meta: Tree) -> Tree:
    """The part of the meta-parameters that belongs to the update rule; {} for none."""
    return meta.get("rule", {}) if isinstance(meta, dict) else {}


class Link:
    """One inner step, linearised where it happened."""

    def __init__(self, loop: InnerLoop, meta: Tree, task: Task, state: State, gradient: Tree) -> None:
        self.loop, self.meta, self.task, self.state, self.gradient = loop, meta, task, state, gradient

    def direct(self, cotangent: Tree) -> Pulled:
        """Pull back through the rule, gradient held fixed."""
        state, gradient, rule = self._pull(tree.fill(cotangent, cast(Tree, self.state)))
        return Pulled(state, gradient, {"rule": rule} if tree.leaves(rule) else {})

    @cached_property
    def _pull(self) -> Callable[[Tree], tuple[Tree, Tree, Tree]]:
        linearised = vjp(self.loop.rule.step, self.state, self.gradient, rule_part(self.meta))
        return cast(Callable[[Tree], tuple[Tree, Tree, Tree]], linearised[1])


class LinearisedLoop:
    """The chain of inner steps that estimators pull back through."""

    def __init__(self, loop: InnerLoop, meta: Tree, task: Task, links: list[Link], last: State) -> None:
        self._loop, self._meta, self._task, self._links, self._last = loop, meta, task, links, last

    def __len__(self) -> int:
        return len(self._links)

    def window(self, start: int, stop: int) -> "LinearisedLoop":
        """The links `start` to `stop - 1`; they are shared, not copied."""
        last = self._links[stop].state if stop < len(self._links) else self._last
        return LinearisedLoop(self._loop, self._meta, self._task, self._links[start:stop], last)

    def beyond(self) -> "LinearisedLoop":
        """One further step, linearised at the last state. Cost: one gradient."""
        gradient = grad(self._support_loss)(self._last["adapted"], self._context, self._task.support.targets)
        link = Link(self._loop, self._meta, self._task, self._last, gradient)
        after = self._loop.rule.step(self._last, gradient, rule_part(self._meta))
        return LinearisedLoop(self._loop, self._meta, self._task, [link], after)

    def direct(self, k: int, cotangent: Tree) -> Pulled:
        """Through the rule of link k."""
        return self._links[k].direct(cotangent)

    def curvature(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        """One product at link k."""
        return self._lift(self._product(self._links[k].state["adapted"], direction, self._task.support.targets))

    def curvature_everywhere(self, directions: Tree) -> tuple[Tree, Tree]:
        """One product per link, `link_chunk` at a time."""
        points = [link.state["adapted"] for link in self._links]
        targets = self._task.support.targets
        if self._loop.link_chunk == 1 or len(points) == 1:
            each = [self._product(p, tree.pick(directions, k), targets) for k, p in enumerate(points)]
            return self._lift((tree.stack([curved for curved, _ in each]), tree.stack([m for _, m in each])))
        together = vmap(self._product, chunk_size=self._loop.link_chunk)
        # Mapped, not closed over: inside two maps the derivative of `F.mse_loss` and its kin takes a target that only
        # the outer one maps for one of the wrong size. A view, so it costs nothing.
        per_link = targets.expand(len(points), *targets.shape)
        return self._lift(together(tree.stack(points), directions, per_link))

    @property
    def _context(self) -> Tree:
        return self._loop.learner.context(self._meta)

    def _product(self, adapted: Tree, direction: Tree, targets: Tensor) -> tuple[Tree, Tree]:
        def loss(adapted: Tree, context: Tree) -> Tensor:
            return self._support_loss(adapted, context, targets)

        return self._loop.curvature(loss, adapted, self._context, direction)

    def _support_loss(self, adapted: Tree, context: Tree, targets: Tensor) -> Tensor:
        batch = Batch(self._task.support.inputs, targets)
        return self._loop.learner.support_loss(adapted, tree.overlay(self._meta, context), batch)

    @staticmethod
    def _lift(product: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
        curved, mixed = product
        return {"adapted": curved}, mixed


class TaskEpisode:
    """One task after its inner loop, as estimators see it.

    Attributes:
        trajectory: states, gradients and support losses along the way.
        chain: the inner loop linearised along the trajectory.
    """

    def __init__(self, loop: InnerLoop, meta: Tree, task: Task) -> None:
        self._loop, self._meta, self._task = loop, meta, task
        self.trajectory = adaptation(loop, meta, task, loop.num_steps)
        states, gradients, _ = self.trajectory
        links = [Link(loop, meta, task, s, g) for s, g in zip(states[:-1], gradients, strict=True)]
        self.chain = LinearisedLoop(loop, meta, task, links, states[-1])

    @property
    def loss(self) -> Tensor:
        """Query loss after adaptation, 0-d."""
        return self._measured[1]

    @property
    def metrics(self) -> Metrics:
        """Query metrics after adaptation, 0-d each."""
        return self._measured[2]

    def outer(self) -> tuple[Tree, Tree]:
        """Gradient of the query loss with respect to the last state, and to what it reads of the meta-parameters."""
        cotangent, direct = self._measured[0]
        return {"adapted": cotangent}, direct

    def from_start(self, cotangent: Tree) -> Tree:
        """Transpose of meta-parameters ↦ first state; an empty cotangent reaches nothing."""
        if not tree.leaves(cotangent):
            return {}

        def first_state(part: Tree) -> State:
            return self._loop.initial_state(tree.overlay(self._meta, part))

        state, pull = vjp(first_state, self._loop.learner.initial(self._meta))[:2]
        return cast(Tree, pull(tree.fill(cotangent, cast(Tree, state)))[0])

    def displacement(self) -> Tree:
        """First state minus last state: adapted parameters only."""
        first, last = self.trajectory.states[0], self.trajectory.states[-1]
        return {"adapted": tree.subtract(first["adapted"], last["adapted"])}

    def nudged(self, nudge: float) -> Tree:
        """∂/∂m of support loss + nudge·query loss where the inner loop on that sum, from the same start, ends."""
        learner, context = self._loop.learner, self._loop.learner.context(self._meta)

        def objective(adapted: Tree, part: Tree) -> Tensor:
            meta = tree.overlay(self._meta, part)
            query, _ = learner.query_loss(adapted, meta, self._task.query)
            return learner.support_loss(adapted, meta, self._task.support) + nudge * query

        if nudge == 0.0:
            last = self.trajectory.states[-1]
        else:
            last = unroll(self._loop, self._meta, lambda adapted: objective(adapted, context)).states[-1]
        return cast(Tree, grad(objective, argnums=1)(last["adapted"], context))

    @cached_property
    def _measured(self) -> tuple[tuple[Tree, Tree], Tensor, Metrics]:
        learner = self._loop.learner

        def query_loss(adapted: Tree, context: Tree) -> tuple[Tensor, Metrics]:
            return learner.query_loss(adapted, tree.overlay(self._meta, context), self._task.query)

        gradients, (loss, metrics) = grad_and_value(query_loss, argnums=(0, 1), has_aux=True)(
            self.trajectory.states[-1]["adapted"], learner.context(self._meta)
        )
        return cast(tuple[Tree, Tree], gradients), loss, metrics


def adaptation(loop: InnerLoop, meta: Tree, task: Task, num_steps: int) -> Trajectory:
    """Adapt to the support set of one task for `num_steps` steps, which may differ from the loop's."""
    return unroll(loop, meta, lambda adapted: loop.learner.support_loss(adapted, meta, task.support), num_steps)


def adaptation_curve(loop: InnerLoop, meta: Tree, task: Task, num_steps: int) -> dict[str, Tree]:
    """Query "loss" and "metrics" of one task after 0, 1, … S inner steps: [S + 1] each. Cost: S gradients."""
    states = adaptation(loop, meta, task, num_steps).states
    measured = [loop.learner.query_loss(state["adapted"], meta, task.query) for state in states]
    return {
        "loss": torch.stack([loss for loss, _ in measured]),
        "metrics": {name: torch.stack([m[name] for _, m in measured]) for name in measured[0][1]},
    }
