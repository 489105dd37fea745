"""The inner loop of one task, linearised: the chain that estimators pull back through."""

from typing import cast

import torch
from torch import Tensor
from torch.func import vmap

from metagrad import structure, tree
from metagrad.estimators.base import Pulled
from metagrad.inner.derivatives import Derivatives
from metagrad.inner.links import Link, Path
from metagrad.inner.loop import InnerLoop, rule_part
from metagrad.inner.motion import Evidence
from metagrad.rules import State
from metagrad.structure import Data
from metagrad.task import Batch, Steps
from metagrad.tree import Tree


class LinearisedLoop:
    """Links `first`, `first` + 1, … of an inner loop that was run, for one task and without a task axis.

    Args:
        loop: the inner loop.
        derivatives: of its losses.
        meta: the meta-parameters.
        evidence: what the loop adapted to.
        path: its steps; the loop's trajectory says which are recomputed when asked for.
        first: which inner step link 0 is.
    """

    def __init__(
        self, loop: InnerLoop, derivatives: Derivatives, meta: Tree, evidence: Evidence, path: Path, first: int = 0
    ) -> None:
        self._loop, self._derivatives, self._meta, self._evidence = loop, derivatives, meta, evidence
        self._path, self._first = path, first

    def __len__(self) -> int:
        return len(self._path)

    def window(self, start: int, stop: int) -> "LinearisedLoop":
        """The links `start` to `stop - 1`; they are shared, not copied."""
        return self._along(self._path.window(start, stop), self._first + start)

    def beyond(self) -> "LinearisedLoop":
        """One further step, linearised at the last state.

        Cost: one gradient. In a window that ends before the loop does, and is not stored, also that of its last state.

        Raises:
            ValueError: the data differ from step to step, so that there is none for a further one.
        """
        next_step = self._first + len(self)
        if isinstance(self._evidence.support, Steps) and next_step >= self._loop.num_steps:
            raise ValueError(
                "this estimator linearises the inner loss at the last state, and a support set of Steps has no data "
                "for a step beyond the last; give one support set, or take Exact() or Binomial(order=2)"
            )
        motion = self._loop.motion(self._meta, self._evidence, self._derivatives)
        (step,) = motion.steps(self._path.last(), next_step, next_step + 1)
        return self._along(Path([Link.of(step)], [], step.after, range(1)), next_step)

    def direct(self, k: int, cotangent: Tree) -> Pulled:
        """Pull back through the rule of link k, gradient held fixed."""
        whole = cast(State, tree.fill(cotangent, cast(Tree, self._path.end)))

        def at() -> tuple[State, Tree]:
            link = self._path[k]
            return link.state, link.gradient

        step = self._evidence.offset + self._first + k
        on_state, on_gradient, own = self._loop.rule.pull(whole, rule_part(self._meta), step, at)
        return Pulled(on_state, on_gradient, {"rule": own} if tree.leaves(own) else {})

    def curvature(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        """One product at link k."""
        return _lifted(self._product(k, direction))

    def curvature_everywhere(self, directions: Tree) -> tuple[Tree, Tree]:
        """One product per link: those that are kept one by one, the others `link_chunk` at a time.

        The links are walked once, the last first, and `link_chunk` of their states are side by side: with None those
        of all links, whatever the trajectory.
        """
        side_by_side = self._path.rebuilt
        one_by_one = self._loop.link_chunk == 1 or self._evidence.seed is not None or callable(self._evidence.support)
        if one_by_one or side_by_side == 1:
            side_by_side = 0
        parts: list[tuple[Tree, Tree]] = []  # the last links first
        for k in reversed(range(side_by_side, len(self))):
            curved, mixed = self._product(k, tree.pick(directions, k))
            parts.append((tree.stack([curved]), tree.stack([mixed])))
        size = self._loop.link_chunk or max(side_by_side, 1)
        for start in reversed(range(0, side_by_side, size)):
            chunk = slice(start, min(start + size, side_by_side))
            parts.append(self._together(chunk, tree.pick(directions, chunk)))
        return _lifted(_joined(parts[::-1]))

    def _together(self, chunk: slice, directions: Tree) -> tuple[Tree, Tree]:
        """The products of some of the links, side by side."""
        leaves, shape = structure.flatten(self._side_by_side(chunk))
        in_dims = self._mapped(leaves)

        def product(adapted: Tree, direction: Tree, *data: Tensor) -> tuple[Tree, Tree]:
            return self._derivatives.product(adapted, self._meta, shape.unflatten(data), direction)

        backwards = reversed(range(chunk.start, chunk.stop))
        points = tree.stack([self._path[k].state["adapted"] for k in backwards][::-1])
        return vmap(product, in_dims=(0, 0, *in_dims))(points, directions, *leaves)

    def _side_by_side(self, chunk: slice) -> Data:
        """The data of some links: with a leading axis of links, but for the inputs of a batch that they share."""
        support = self._evidence.support
        if isinstance(support, Steps):
            return support.at(slice(self._first + chunk.start, self._first + chunk.stop))

        def repeated(leaf: Tensor) -> Tensor:
            return leaf.expand(chunk.stop - chunk.start, *leaf.shape)

        # Mapped, not closed over: inside two maps the derivative of `F.mse_loss` and its kin takes a target that only
        # the outer one maps for one of the wrong size. A view, so it costs nothing.
        if isinstance(support, Batch):
            return support._replace(targets=structure.map(repeated, support.targets))
        return structure.map(repeated, support)

    def _mapped(self, leaves: list[Tensor]) -> list[int | None]:
        """Along which axis each leaf of the data of several links is mapped."""
        support = self._evidence.support
        shared = len(structure.leaves(support.inputs)) if isinstance(support, Batch) else 0
        return [None] * shared + [0] * (len(leaves) - shared)

    def _along(self, path: Path, first: int) -> "LinearisedLoop":
        return LinearisedLoop(self._loop, self._derivatives, self._meta, self._evidence, path, first)

    def _product(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        state, _, pull = self._path[k]
        if pull is not None:
            return pull(direction)
        step = self._first + k
        with self._evidence.seeded(step):
            data = self._evidence.at(step)
            return self._derivatives.product(state["adapted"], self._meta, data, direction)


def _lifted(product: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
    curved, mixed = product
    return {"adapted": curved}, mixed


def _joined(parts: list[tuple[Tree, Tree]]) -> tuple[Tree, Tree]:
    if len(parts) == 1:
        return parts[0]
    curved, mixed = (tree.map(lambda *leaves: torch.cat(leaves), *side) for side in zip(*parts, strict=True))
    return curved, mixed
