"""One task after its inner loop: linearised for estimators, and measured.

Everything here is for a single task, without a task axis, and pure; `batching` maps it over tasks. States and gradients
are kept as values; graphs of one step are built again when a curvature product asks for them, unless the loop reuses.
"""

from functools import cached_property
from typing import NamedTuple, cast

from torch import Tensor
from torch.func import grad, vjp, vmap

from metagrad import tree
from metagrad.estimators.base import Pulled
from metagrad.inner.derivatives import Derivatives, Outer, Pull, descend, linearise
from metagrad.inner.learners import Metrics
from metagrad.inner.loop import InnerLoop, adapted, rule_part, steps
from metagrad.inner.rules import State
from metagrad.tasks.task import Batch, Task
from metagrad.tree import Tree


class Link(NamedTuple):
    """One inner step as the chain keeps it: state and gradient, and its curvature product where that is reused."""

    state: State
    gradient: Tree
    pull: Pull | None


class LinearisedLoop:
    """The chain of inner steps that estimators pull back through.

    Args:
        loop: the inner loop.
        derivatives: of its losses.
        meta: the meta-parameters.
        support: what the loop adapted to.
        links: its steps.
        last: the state after the last step.
    """

    def __init__(
        self, loop: InnerLoop, derivatives: Derivatives, meta: Tree, support: Batch, links: list[Link], last: State
    ) -> None:
        self._loop, self._derivatives, self._meta, self._support = loop, derivatives, meta, support
        self._links, self._last = links, last

    def __len__(self) -> int:
        return len(self._links)

    def window(self, start: int, stop: int) -> "LinearisedLoop":
        """The links `start` to `stop - 1`; they are shared, not copied."""
        last = self._links[stop].state if stop < len(self._links) else self._last
        return self._with(self._links[start:stop], last)

    def beyond(self) -> "LinearisedLoop":
        """One further step, linearised at the last state. Cost: one gradient."""
        gradient, _ = self._derivatives.gradient(self._last["adapted"], self._meta, self._support)
        after = self._loop.rule.step(self._last, gradient, rule_part(self._meta))
        return self._with([Link(self._last, gradient, None)], after)

    def direct(self, k: int, cotangent: Tree) -> Pulled:
        """Pull back through the rule of link k, gradient held fixed."""
        state, gradient, _ = self._links[k]
        pull = vjp(self._loop.rule.step, state, gradient, rule_part(self._meta))[1]
        on_state, on_gradient, rule = cast(tuple[Tree, Tree, Tree], pull(tree.fill(cotangent, cast(Tree, state))))
        return Pulled(on_state, on_gradient, {"rule": rule} if tree.leaves(rule) else {})

    def curvature(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        """One product at link k."""
        return self._lift(self._product(k, direction))

    def curvature_everywhere(self, directions: Tree) -> tuple[Tree, Tree]:
        """One product per link: those that are kept one by one, the others `link_chunk` at a time."""
        count = len(self._links)
        rebuilt = sum(link.pull is None for link in self._links)  # the first ones: kept are the last
        if self._loop.link_chunk == 1 or rebuilt <= 1:
            return self._lift(_stacked([self._product(k, tree.pick(directions, k)) for k in range(count)]))

        def product(adapted: Tree, direction: Tree, targets: Tensor) -> tuple[Tree, Tree]:
            return self._derivatives.product(adapted, self._meta, self._support._replace(targets=targets), direction)

        points = tree.stack([link.state["adapted"] for link in self._links[:rebuilt]])
        # Mapped, not closed over: inside two maps the derivative of `F.mse_loss` and its kin takes a target that only
        # the outer one maps for one of the wrong size. A view, so it costs nothing.
        targets = self._support.targets.expand(rebuilt, *self._support.targets.shape)
        together = vmap(product, chunk_size=self._loop.link_chunk)
        early = cast(tuple[Tree, Tree], together(points, tree.pick(directions, slice(0, rebuilt)), targets))
        if rebuilt == count:
            return self._lift(early)
        late = _stacked([self._product(k, tree.pick(directions, k)) for k in range(rebuilt, count)])
        return self._lift((tree.join(early[0], late[0]), tree.join(early[1], late[1])))

    def _with(self, links: list[Link], last: State) -> "LinearisedLoop":
        return LinearisedLoop(self._loop, self._derivatives, self._meta, self._support, links, last)

    def _product(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        state, _, pull = self._links[k]
        if pull is not None:
            return pull(direction)
        return self._derivatives.product(state["adapted"], self._meta, self._support, direction)

    @staticmethod
    def _lift(product: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
        curved, mixed = product
        return {"adapted": curved}, mixed


class TaskEpisode:
    """One task after its inner loop, as estimators see it.

    Attributes:
        chain: the inner loop linearised along its trajectory.
        support_losses: the support loss (0-d) at the start of each of the K steps.
    """

    def __init__(self, loop: InnerLoop, meta: Tree, task: Task, derivatives: Derivatives | None = None) -> None:
        self._loop, self._meta, self._task = loop, meta, task
        self._derivatives: Derivatives = derivatives or loop.derivatives()
        self._first = state = loop.initial_state(meta)
        links: list[Link] = []
        self.support_losses: list[Tensor] = []
        for k in range(loop.num_steps):
            pull = None
            if k < loop.num_steps - loop.reuse:
                gradient, loss = self._derivatives.gradient(state["adapted"], meta, task.support)
            else:
                gradient, loss, pull = linearise(loop.learner, state["adapted"], meta, task.support)
            links.append(Link(state, gradient, pull))
            self.support_losses.append(loss)
            state = loop.rule.step(state, gradient, rule_part(meta))
        self._last = state
        self.chain = LinearisedLoop(loop, self._derivatives, meta, task.support, links, state)

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
        if not tree.leaves(cotangent):
            return {}

        def first_state(part: Tree) -> State:
            return self._loop.initial_state(tree.overlay(self._meta, part))

        state, pull = vjp(first_state, self._loop.learner.initial(self._meta))[:2]
        return cast(Tree, pull(tree.fill(cotangent, cast(Tree, state)))[0])

    def displacement(self) -> Tree:
        """First state minus last state: adapted parameters only."""
        return {"adapted": tree.subtract(self._first["adapted"], self._last["adapted"])}

    def nudged(self, nudge: float) -> Tree:
        """∂/∂m of support loss + nudge·query loss where the inner loop on that sum, from the same start, ends."""
        learner = self._loop.learner
        context = learner.context(self._meta)

        def objective(phi: Tree, part: Tree) -> Tensor:
            meta = tree.overlay(self._meta, part)
            query, _ = learner.query_loss(phi, meta, self._task.query)
            return learner.support_loss(phi, meta, self._task.support) + nudge * query

        end = self._last["adapted"]
        if nudge != 0.0:
            def gradient(phi: Tree) -> tuple[Tree, Tensor]:
                return descend(lambda at: objective(at, context), phi)

            taken = steps(self._loop, self._meta, gradient, self._loop.num_steps)
            end = adapted(self._loop, self._meta, taken)
        return cast(Tree, grad(objective, argnums=1)(end, context))

    @cached_property
    def _measured(self) -> Outer:
        return self._derivatives.outer(self._last["adapted"], self._meta, self._task.query)


def _stacked(products: list[tuple[Tree, Tree]]) -> tuple[Tree, Tree]:
    return tree.stack([curved for curved, _ in products]), tree.stack([mixed for _, mixed in products])
