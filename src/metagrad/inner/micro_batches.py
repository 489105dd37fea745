"""Sums over parts of each batch: the memory of a part's graph for the derivatives of the whole."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from metagrad import structure, tree
from metagrad.inner.derivatives import Derivatives, Outer
from metagrad.structure import Data
from metagrad.tree import Tree


@dataclass(frozen=True)
class MicroBatched:
    """Derivatives of losses that are means over examples, a few examples at a time.

        ∇ℓ = Σ_i (n_i/N)·∇ℓ_i,   and likewise products, outer gradients and metrics

    Memory: the graph of one part. When it is wrong: for losses that are no mean over the first axis of the data (sums,
    means over unmasked tokens), and batch norm takes the statistics of each part.

    Args:
        derivatives: of one part.
        count: how many parts of (almost) equal size.

    Raises:
        ValueError: in use, tensors of one batch that differ in their first axis, or fewer examples than parts.
    """

    derivatives: Derivatives
    count: int

    def gradient(self, adapted: Tree, meta: Tree, support: Data) -> tuple[Tree, Tensor]:
        """A backward pass for each part."""
        total: Tree = {}
        losses: list[Tensor] = []
        for part, share in self._parts(support):
            slope, loss = self.derivatives.gradient(adapted, meta, part)
            total = tree.add(total, tree.scale(slope, share))
            losses.append(share * loss)
        return total, torch.stack(losses).sum()

    def product(self, adapted: Tree, meta: Tree, support: Data, direction: Tree) -> tuple[Tree, Tree]:
        """A product for each part."""
        curved: Tree = {}
        mixed: Tree = {}
        for part, share in self._parts(support):
            bent, crossed = self.derivatives.product(adapted, meta, part, direction)
            curved, mixed = tree.add(curved, tree.scale(bent, share)), tree.add(mixed, tree.scale(crossed, share))
        return curved, mixed

    def outer(self, adapted: Tree, meta: Tree, query: Data) -> Outer:
        """A backward pass for each part."""
        total: Tree = {}
        for part, share in self._parts(query):
            one = self.derivatives.outer(adapted, meta, part)
            whole: Tree = {"adapted": one.adapted, "context": one.context, "loss": one.loss, "metrics": {**one.metrics}}
            total = tree.add(total, tree.scale(whole, share))
        return Outer(**cast("dict[str, Tree]", total))  # pyright: ignore

    def descend(self, objective: Callable[[Tree], Tensor], at: Tree) -> tuple[Tree, Tensor]:
        """As the others do: an objective that is given whole."""
        return self.derivatives.descend(objective, at)

    def _parts(self, data: Data) -> list[tuple[Data, float]]:
        """The parts, and the share of the examples that each has."""
        leaves, shape = structure.flatten(data)
        sizes = {path: len(leaf) for path, leaf in zip(shape.paths, leaves, strict=True) if leaf.ndim}
        examples = set(sizes.values())
        if len(examples) != 1:
            raise ValueError(
                f"micro_batches={self.count} splits every tensor along its first axis, the examples, and "
                f"{', '.join(f'{path} has {size}' for path, size in sizes.items())}"
            )
        (number,) = examples
        if number < self.count:
            raise ValueError(f"micro_batches={self.count} needs as many examples, and a batch has {number}")
        split = [leaf.tensor_split(self.count) if leaf.ndim else [leaf] * self.count for leaf in leaves]
        return [
            (shape.unflatten(parts), next(len(part) for part in parts if part.ndim) / number)
            for parts in zip(*split, strict=True)
        ]
