"""One task after its inner loop: linearised for estimators, and measured.

Everything here is for a single task, without a task axis, and pure; `batching` maps it over tasks. States and gradients
are kept as values; graphs of one step are built again when a curvature product asks for them.
"""

from functools import cached_property
from typing import cast

from torch import Tensor
from torch.func import grad, grad_and_value, vjp, vmap

from metagrad import tree
from metagrad.estimators.base import Pulled
from metagrad.inner.learners import Metrics
from metagrad.inner.loop import InnerLoop, adapted, adapting_steps, rule_part, steps
from metagrad.inner.rules import State
from metagrad.tasks.task import Batch, Task
from metagrad.tree import Tree


class LinearisedLoop:
    """The chain of inner steps that estimators pull back through; nothing is kept but states and gradients.

    Args:
        loop: the inner loop.
        meta: the meta-parameters.
        context: the part of them that the support loss reads.
        support: what the loop adapted to.
        links: (state, gradient) of each step.
        last: the state after the last step.
    """

    def __init__(
        self, loop: InnerLoop, meta: Tree, context: Tree, support: Batch, links: list[tuple[State, Tree]], last: State
    ) -> None:
        self._loop, self._meta, self._context, self._support = loop, meta, context, support
        self._links, self._last = links, last

    def __len__(self) -> int:
        return len(self._links)

    def window(self, start: int, stop: int) -> "LinearisedLoop":
        """The links `start` to `stop - 1`; they are shared, not copied."""
        last = self._links[stop][0] if stop < len(self._links) else self._last
        return self._with(self._links[start:stop], last)

    def beyond(self) -> "LinearisedLoop":
        """One further step, linearised at the last state. Cost: one gradient."""
        gradient = grad(self._support_loss)(self._last["adapted"], self._context, self._support.targets)
        after = self._loop.rule.step(self._last, gradient, rule_part(self._meta))
        return self._with([(self._last, gradient)], after)

    def direct(self, k: int, cotangent: Tree) -> Pulled:
        """Pull back through the rule of link k, gradient held fixed."""
        state, gradient = self._links[k]
        pull = vjp(self._loop.rule.step, state, gradient, rule_part(self._meta))[1]
        on_state, on_gradient, rule = cast(tuple[Tree, Tree, Tree], pull(tree.fill(cotangent, cast(Tree, state))))
        return Pulled(on_state, on_gradient, {"rule": rule} if tree.leaves(rule) else {})

    def curvature(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        """One product at link k."""
        return self._lift(self._product(self._links[k][0]["adapted"], direction, self._support.targets))

    def curvature_everywhere(self, directions: Tree) -> tuple[Tree, Tree]:
        """One product per link, `link_chunk` at a time."""
        points = [state["adapted"] for state, _ in self._links]
        targets = self._support.targets
        if self._loop.link_chunk == 1 or len(points) == 1:
            each = [self._product(p, tree.pick(directions, k), targets) for k, p in enumerate(points)]
            return self._lift((tree.stack([curved for curved, _ in each]), tree.stack([m for _, m in each])))
        together = vmap(self._product, chunk_size=self._loop.link_chunk)
        # Mapped, not closed over: inside two maps the derivative of `F.mse_loss` and its kin takes a target that only
        # the outer one maps for one of the wrong size. A view, so it costs nothing.
        per_link = targets.expand(len(points), *targets.shape)
        return self._lift(together(tree.stack(points), directions, per_link))

    def _with(self, links: list[tuple[State, Tree]], last: State) -> "LinearisedLoop":
        return LinearisedLoop(self._loop, self._meta, self._context, self._support, links, last)

    def _product(self, adapted: Tree, direction: Tree, targets: Tensor) -> tuple[Tree, Tree]:
        def loss(adapted: Tree, context: Tree) -> Tensor:
            return self._support_loss(adapted, context, targets)

        return self._loop.curvature(loss, adapted, self._context, direction)

    def _support_loss(self, adapted: Tree, context: Tree, targets: Tensor) -> Tensor:
        batch = Batch(self._support.inputs, targets)
        return self._loop.learner.support_loss(adapted, tree.overlay(self._meta, context), batch)

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

    def __init__(self, loop: InnerLoop, meta: Tree, task: Task) -> None:
        self._loop, self._meta, self._task = loop, meta, task
        self._context = loop.learner.context(meta)
        taken = list(adapting_steps(loop, meta, task, loop.num_steps))
        self._first, self._last = taken[0].state, taken[-1].after
        self.support_losses = [step.loss for step in taken]
        links = [(step.state, step.gradient) for step in taken]
        self.chain = LinearisedLoop(loop, meta, self._context, task.support, links, self._last)

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
        return {"adapted": tree.subtract(self._first["adapted"], self._last["adapted"])}

    def nudged(self, nudge: float) -> Tree:
        """∂/∂m of support loss + nudge·query loss where the inner loop on that sum, from the same start, ends."""
        learner, context = self._loop.learner, self._context

        def objective(phi: Tree, part: Tree) -> Tensor:
            meta = tree.overlay(self._meta, part)
            query, _ = learner.query_loss(phi, meta, self._task.query)
            return learner.support_loss(phi, meta, self._task.support) + nudge * query

        end = self._last["adapted"]
        if nudge != 0.0:
            taken = steps(self._loop, self._meta, lambda phi: objective(phi, context), self._loop.num_steps)
            end = adapted(self._loop, self._meta, taken)
        return cast(Tree, grad(objective, argnums=1)(end, context))

    @cached_property
    def _measured(self) -> tuple[tuple[Tree, Tree], Tensor, Metrics]:
        learner = self._loop.learner

        def query_loss(adapted: Tree, context: Tree) -> tuple[Tensor, Metrics]:
            return learner.query_loss(adapted, tree.overlay(self._meta, context), self._task.query)

        gradients, (loss, metrics) = grad_and_value(query_loss, argnums=(0, 1), has_aux=True)(
            self._last["adapted"], self._context
        )
        return cast(tuple[Tree, Tree], gradients), loss, metrics
