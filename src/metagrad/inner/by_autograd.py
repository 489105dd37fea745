"""The derivatives of an inner loop by plain `torch.autograd`, for what `torch.func` cannot differentiate.

Custom autograd functions of the old style, `torch.utils.checkpoint`, modules that differentiate inside their forward
pass: anything that plain PyTorch differentiates twice. One task and one link at a time.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metagrad import tree
from metagrad.inner.curvature import CurvatureProduct, central_difference, differenced, forward_over_reverse
from metagrad.inner.derivatives import Outer
from metagrad.inner.learner import Learner
from metagrad.structure import Data
from metagrad.tree import Tree


@dataclass(frozen=True)
class ByAutograd:
    """As `Direct`, differentiated by `torch.autograd.grad` within one step. Costs are those of `Direct`.

    Args:
        learner: whose losses.
        curvature: `reverse_over_reverse` or `central_difference`.

    Raises:
        ValueError: `forward_over_reverse`, which needs `torch.func`.
    """

    learner: Learner
    curvature: CurvatureProduct

    def __post_init__(self) -> None:
        if self.curvature is forward_over_reverse:
            raise ValueError(
                "curvature=forward_over_reverse needs torch.func, which cannot differentiate this model; take "
                "reverse_over_reverse or central_difference"
            )

    def gradient(self, adapted: Tree, meta: Tree, support: Data) -> tuple[Tree, Tensor]:
        """One backward pass."""
        return self.descend(lambda phi: self.learner.support_loss(phi, meta, support), adapted)

    def product(self, adapted: Tree, meta: Tree, support: Data, direction: Tree) -> tuple[Tree, Tree]:
        """One product: back through a gradient whose graph is kept for it."""

        def loss(phi: Tree, context: Tree) -> Tensor:
            return self.learner.support_loss(phi, tree.overlay(meta, context), support)

        def gradients(phi: Tree, context: Tree) -> tuple[Tree, Tree]:
            with _recording():
                phi, context = _fresh(phi), _fresh(context)
                both = _back(loss(phi, context), {"adapted": phi, "context": context})
                return both["adapted"], both["context"]

        context = self.learner.context(meta)
        if self.curvature is central_difference:
            return differenced(gradients, adapted, context, direction)
        with _recording():
            phi, part = _fresh(adapted), _fresh(context)
            slope = _back(loss(phi, part), {"": phi}, create_graph=True)[""]
            along = tree.dot(slope, direction)
            both = _back(along, {"adapted": phi, "context": part}) if along.requires_grad else {}
        return both.get("adapted", tree.scale(adapted, 0.0)), both.get("context", {})

    def outer(self, adapted: Tree, meta: Tree, query: Data) -> Outer:
        """One backward pass."""
        with _recording():
            phi, context = _fresh(adapted), _fresh(self.learner.context(meta))
            loss, metrics = self.learner.query_loss(phi, tree.overlay(meta, context), query)
            both = _back(loss, {"adapted": phi, "context": context})
        measured = {name: value.detach() for name, value in metrics.items()}
        return Outer(both["adapted"], both["context"], loss.detach(), measured)

    def descend(self, objective: Callable[[Tree], Tensor], at: Tree) -> tuple[Tree, Tensor]:
        """One backward pass."""
        with _recording():
            point = _fresh(at)
            loss = objective(point)
            return _back(loss, {"": point})[""] if tree.leaves(at) else {}, loss.detach()


@contextmanager
def _recording() -> Generator[None]:
    """Gradient mode; autocast, where the user is in it, would keep a copy of every leaf that it casts until the end."""
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_autocast_cache_enabled(cached)


def _fresh(values: Tree) -> Tree:
    """The same values as leaves of a new graph."""
    return tree.map(lambda leaf: leaf.detach().requires_grad_(leaf.is_floating_point()), values)


def _back(loss: Tensor, points: dict[str, Tree], **options: Any) -> dict[str, Tree]:
    """Gradients at the leaves, zero where the loss does not depend on one."""
    leaves = [leaf for leaf in tree.leaves(points) if leaf.requires_grad]
    slopes = (
        torch.autograd.grad(loss, leaves, allow_unused=True, **options) if loss.requires_grad else [None] * len(leaves)
    )
    by_leaf = {id(leaf): slope for leaf, slope in zip(leaves, slopes, strict=True) if slope is not None}
    found = tree.map(lambda leaf: by_leaf.get(id(leaf), torch.zeros_like(leaf)), points)
    assert isinstance(found, dict)
    return found
