"""The derivatives that an inner loop is made of: its gradient, its curvature product and the outer gradient.

Everything above asks for these three and never differentiates a loss itself, so that they can be exchanged for
versions that were traced and compiled once (`metagrad.capture`). All of them belong to one task, without a task axis.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

from torch import Tensor
from torch.func import grad_and_value, vjp

from metagrad import tree
from metagrad.inner.curvature import CurvatureProduct, reverse_over_reverse
from metagrad.inner.learner import Learner
from metagrad.objectives import Metrics
from metagrad.structure import Data
from metagrad.tree import Tree

Pull = Callable[[Tree], tuple[Tree, Tree]]


class Outer(NamedTuple):
    """The query loss (0-d) and metrics after adaptation, and its gradient: on φ, and on what it reads of m."""

    adapted: Tree
    context: Tree
    loss: Tensor
    metrics: Metrics


class Derivatives(Protocol):
    """Three functions of (adapted parameters, meta-parameters, data of one task)."""

    def gradient(self, adapted: Tree, meta: Tree, support: Data) -> tuple[Tree, Tensor]:
        """The inner gradient ∇_φ ℓ and the support loss ℓ, 0-d."""
        ...

    def product(self, adapted: Tree, meta: Tree, support: Data, direction: Tree) -> tuple[Tree, Tree]:
        """(H·d, (∂²ℓ/∂m∂φ)ᵀ·d) for a direction d."""
        ...

    def outer(self, adapted: Tree, meta: Tree, query: Data) -> Outer:
        """The outer gradient and what is measured with it."""
        ...

    def descend(self, objective: Callable[[Tree], Tensor], at: Tree) -> tuple[Tree, Tensor]:
        """Gradient and value (0-d) of another objective, as `FiniteDifference` has; {} where `at` has no leaf."""
        ...


@dataclass(frozen=True)
class Direct:
    """Differentiate the learner's losses whenever asked.

    Args:
        learner: whose losses.
        curvature: how one curvature product is done.
    """

    learner: Learner
    curvature: CurvatureProduct = reverse_over_reverse

    def gradient(self, adapted: Tree, meta: Tree, support: Data) -> tuple[Tree, Tensor]:
        """One backward pass."""
        return descend(lambda phi: self.learner.support_loss(phi, meta, support), adapted)

    def product(self, adapted: Tree, meta: Tree, support: Data, direction: Tree) -> tuple[Tree, Tree]:
        """One product, from nothing."""

        def loss(phi: Tree, context: Tree) -> Tensor:
            return self.learner.support_loss(phi, tree.overlay(meta, context), support)

        return self.curvature(loss, adapted, self.learner.context(meta), direction)

    def outer(self, adapted: Tree, meta: Tree, query: Data) -> Outer:
        """One backward pass."""

        def query_loss(phi: Tree, context: Tree) -> tuple[Tensor, Metrics]:
            return self.learner.query_loss(phi, tree.overlay(meta, context), query)

        measure = grad_and_value(query_loss, argnums=(0, 1), has_aux=True)
        gradients, (loss, metrics) = measure(adapted, self.learner.context(meta))
        on_adapted, on_context = cast(tuple[Tree, Tree], gradients)
        return Outer(on_adapted, on_context, loss, metrics)

    def descend(self, objective: Callable[[Tree], Tensor], at: Tree) -> tuple[Tree, Tensor]:
        """One backward pass."""
        return descend(objective, at)


def descend(objective: Callable[[Tree], Tensor], at: Tree) -> tuple[Tree, Tensor]:
    """Gradient and value (0-d) of one objective; {} where `at` has no leaf."""
    return cast(tuple[Tree, Tensor], grad_and_value(objective)(at)) if tree.leaves(at) else ({}, objective(at))


def linearise(learner: Learner, adapted: Tree, meta: Tree, support: Data) -> tuple[Tree, Tensor, Pull]:
    """The inner gradient and loss, and their curvature product with its graph kept: d ↦ (H·d, mixed term).

    Memory: the graph of one inner gradient for as long as the product is held. Saves one gradient for each product.
    """

    def gradient(phi: Tree, context: Tree) -> tuple[Tree, Tensor]:
        return descend(lambda at: learner.support_loss(at, tree.overlay(meta, context), support), phi)

    value, pull, loss = cast(tuple[Tree, Any, Tensor], vjp(gradient, adapted, learner.context(meta), has_aux=True))
    return value, loss, cast(Pull, pull)
