"""One task after its inner loop: linearised for estimators, and measured.

Everything here is for a single task, without a task axis, and pure; `batching` maps it over tasks. States and gradients
are kept as values, or recomputed, as the loop's trajectory says; graphs of one step are built again when a curvature
product asks for them, unless the loop reuses.
"""

from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

from metagrad import tree
from metagrad.estimators.base import Pulled
from metagrad.inner.derivatives import Derivatives, Outer, descend, linearise
from metagrad.inner.learner import Metrics
from metagrad.inner.links import Link, Motion, Path
from metagrad.inner.loop import InnerLoop, adapted, rule_part, steps
from metagrad.inner.rules import SGD, State
from metagrad.tasks.task import Batch, Task
from metagrad.tree import Tree


class LinearisedLoop:
    """The chain of inner steps that estimators pull back through.

    Args:
        loop: the inner loop.
        derivatives: of its losses.
        meta: the meta-parameters.
        support: what the loop adapted to.
        path: its steps; the loop's trajectory says which are recomputed when asked for.
    """

    def __init__(self, loop: InnerLoop, derivatives: Derivatives, meta: Tree, support: Batch, path: Path) -> None:
        self._loop, self._derivatives, self._meta, self._support = loop, derivatives, meta, support
        self._path = path

    def __len__(self) -> int:
        return len(self._path)

    def window(self, start: int, stop: int) -> "LinearisedLoop":
        """The links `start` to `stop - 1`; they are shared, not copied."""
        return self._along(self._path.window(start, stop))

    def beyond(self) -> "LinearisedLoop":
        """One further step, linearised at the last state.

        Cost: one gradient. In a window that ends before the loop does, and is not stored, also that of its last state.
        """
        last = self._path.last()
        gradient, _ = self._derivatives.gradient(last["adapted"], self._meta, self._support)
        after = self._loop.rule.step(last, gradient, rule_part(self._meta))
        return self._along(Path([Link(last, gradient)], [], after, range(1)))

    def direct(self, k: int, cotangent: Tree) -> Pulled:
        """Pull back through the rule of link k, gradient held fixed."""
        # Not for what inherits from SGD, which may step otherwise. Differentiating a step costs ten times the step, and
        # here not even the state is looked at: `FirstOrder` recomputes nothing where the trajectory keeps little.
        if type(self._loop.rule) is SGD:
            whole = cast(dict[str, Tree], tree.fill(cotangent, cast(Tree, self._path.end)))
            on_state, on_gradient = cast(SGD, self._loop.rule).pull(whole["adapted"])
            return Pulled(on_state, on_gradient, {})
        state, gradient, _ = self._path[k]
        whole = cast(dict[str, Tree], tree.fill(cotangent, cast(Tree, state)))
        pull = vjp(self._loop.rule.step, state, gradient, rule_part(self._meta))[1]
        on_state, on_gradient, rule = cast(tuple[Tree, Tree, Tree], pull(whole))
        return Pulled(on_state, on_gradient, {"rule": rule} if tree.leaves(rule) else {})

    def curvature(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        """One product at link k."""
        return self._lift(self._product(k, direction))

    def curvature_everywhere(self, directions: Tree) -> tuple[Tree, Tree]:
        """One product per link: those that are kept one by one, the others `link_chunk` at a time.

        The links are walked once, the last first, and `link_chunk` of their states are side by side: with None those
        of all links, whatever the trajectory.
        """
        side_by_side = self._path.rebuilt
        if self._loop.link_chunk == 1 or side_by_side == 1:
            side_by_side = 0
        parts: list[tuple[Tree, Tree]] = []  # the last links first
        for k in reversed(range(side_by_side, len(self))):
            curved, mixed = self._product(k, tree.pick(directions, k))
            parts.append((tree.stack([curved]), tree.stack([mixed])))
        size = self._loop.link_chunk or max(side_by_side, 1)
        for start in reversed(range(0, side_by_side, size)):
            chunk = slice(start, min(start + size, side_by_side))
            parts.append(self._together(chunk, tree.pick(directions, chunk)))
        return self._lift(_joined(parts[::-1]))

    def _together(self, chunk: slice, directions: Tree) -> tuple[Tree, Tree]:
        """The products of some of the links, side by side."""

        def product(adapted: Tree, direction: Tree, targets: Tensor) -> tuple[Tree, Tree]:
            return self._derivatives.product(adapted, self._meta, self._support._replace(targets=targets), direction)

        backwards = reversed(range(chunk.start, chunk.stop))
        points = tree.stack([self._path[k].state["adapted"] for k in backwards][::-1])
        # Mapped, not closed over: inside two maps the derivative of `F.mse_loss` and its kin takes a target that only
        # the outer one maps for one of the wrong size. A view, so it costs nothing.
        targets = self._support.targets.expand(chunk.stop - chunk.start, *self._support.targets.shape)
        return vmap(product)(points, directions, targets)

    def _along(self, path: Path) -> "LinearisedLoop":
        return LinearisedLoop(self._loop, self._derivatives, self._meta, self._support, path)

    def _product(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        state, _, pull = self._path[k]
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
        self._first = loop.initial_state(meta)

        def gradient(state: State) -> tuple[Tree, Tensor]:
            return self._derivatives.gradient(state["adapted"], meta, task.support)

        def step(state: State, gradient: Tree) -> State:
            return loop.rule.step(state, gradient, rule_part(meta))

        rebuilt = max(loop.num_steps - loop.reuse, 0)
        links, losses, state = loop.trajectory.record(Motion(gradient, step), self._first, rebuilt)
        reused: list[Link] = []
        for _ in range(rebuilt, loop.num_steps):
            slope, loss, pull = linearise(loop.learner, state["adapted"], meta, task.support)
            reused.append(Link(state, slope, pull))
            losses.append(loss)
            state = step(state, slope)
        self.support_losses = losses
        self._last = state
        path = Path(links, reused, state, range(loop.num_steps))
        self.chain = LinearisedLoop(loop, self._derivatives, meta, task.support, path)

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

        initial = self._loop.learner.initial(self._meta)
        handed_on = self._handed_on(initial, cotangent)
        if handed_on is not None:
            return handed_on

        def first_state(part: Tree) -> State:
            return self._loop.initial_state(tree.overlay(self._meta, part))

        state, pull = vjp(first_state, initial)[:2]
        return cast(Tree, pull(tree.fill(cotangent, cast(Tree, state)))[0])

    def _handed_on(self, initial: Tree, cotangent: Tree) -> Tree | None:
        """The cotangent where the first state consists of meta-parameters as they are: nothing to differentiate."""
        first = cast(Tree, self._first)
        cotangents = tree.leaves(tree.fill(cotangent, first))
        by_leaf = {id(leaf): part for leaf, part in zip(tree.leaves(first), cotangents, strict=True)}
        wanted = [id(leaf) for leaf in tree.leaves(initial)]
        if sorted(wanted) != sorted(by_leaf) or len(by_leaf) != len(cotangents):
            return None
        return tree.map(lambda leaf: by_leaf[id(leaf)], initial)

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


def _joined(parts: list[tuple[Tree, Tree]]) -> tuple[Tree, Tree]:
    if len(parts) == 1:
        return parts[0]
    curved, mixed = (tree.map(lambda *leaves: torch.cat(leaves), *side) for side in zip(*parts, strict=True))
    return curved, mixed
