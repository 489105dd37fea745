"""Chains seen through another: counted and recorded, or with a model of each link's curvature moved out of it.

Experiments of `frontier` that need no more than the chain protocol are ordinary estimators on one of these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from metagrad import tree
from metagrad.estimators.base import Chain, Pulled
from metagrad.tree import Tree
from metagrad_studies.spectra import flat, shaped

CLEAR = 0.1
"""Curvature on the span of what was asked counts if it is this share of the largest there, and positive."""

SPANNED = 1e-6
"""A direction counts as new if this share of it is."""


@dataclass
class Log:
    """Products and rounds so far, and (direction, product) of every link that was asked, flat."""

    products: int = 0
    rounds: int = 0
    pairs: dict[int, list[tuple[Tensor, Tensor]]] = field(default_factory=dict)


class Watched:
    """A chain that keeps a log; windows of it write into the same."""

    def __init__(self, chain: Chain, log: Log, first: int = 0) -> None:
        self._chain, self.log, self._first = chain, log, first

    def __len__(self) -> int:
        return len(self._chain)

    def window(self, start: int, stop: int) -> "Watched":
        """The links `start` to `stop - 1`."""
        return Watched(self._chain.window(start, stop), self.log, self._first + start)

    def beyond(self) -> Chain:
        """As of the chain; not watched."""
        return self._chain.beyond()

    def direct(self, k: int, cotangent: Tree) -> Pulled:
        """As of the chain."""
        return self._chain.direct(k, cotangent)

    def curvature(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        """One product, a round of its own."""
        curved, mixed = self._chain.curvature(k, direction)
        self.log.rounds += 1
        self._keep(k, direction, curved)
        return curved, mixed

    def curvature_everywhere(self, directions: Tree) -> tuple[Tree, Tree]:
        """A product a link, one round."""
        curved, mixed = self._chain.curvature_everywhere(directions)
        self.log.rounds += 1
        for k in range(len(self)):
            self._keep(k, tree.pick(directions, k), tree.pick(curved, k))
        return curved, mixed

    def _keep(self, k: int, direction: Tree, curved: Tree) -> None:
        self.log.products += 1
        self.log.pairs.setdefault(self._first + k, []).append((flat(direction), flat(curved)))


class Model(Protocol):
    """A symmetric model of one link's curvature."""

    def product(self, direction: Tree) -> Tree:
        """The model's, shaped like `direction`."""
        ...


@dataclass(frozen=True)
class LowRank:
    """A symmetric model of curvature: rowsᵀ·core·rows, rows [r, n], core [r, r]."""

    rows: Tensor
    core: Tensor

    def product(self, direction: Tree) -> Tree:
        """The model's, shaped like `direction`."""
        row = flat(direction)
        return shaped((self.core @ (self.rows @ row)) @ self.rows, direction)


def completed(directions: Tensor, products: Tensor) -> LowRank:
    """The least positive semidefinite model that agrees with one symmetric curvature on its directions [r, n].

    Zᵀ M⁺ Z with an orthonormal basis Q of the directions, Z = Q·H, M = Z·Qᵀ; what is not clearly positive is left out.
    """
    basis, answers = basis_and_products(directions, products)
    return LowRank(answers, positive_inverse(_symmetric(answers @ basis.T)))


def mean(models: Sequence[LowRank]) -> LowRank:
    """Their mean, as one model."""
    return LowRank(
        torch.cat([model.rows for model in models]), torch.block_diag(*(m.core for m in models)) / len(models)
    )


class Moved:
    """A chain with a model of some links' curvature moved into their direct part.

    Link D + C, with C = lift·H·G and G the map onto the gradient, becomes (D + lift·S·G) + (C − lift·S·G): the exact
    pullback is the same, and what an estimator expands in or models is H − S.
    """

    def __init__(self, chain: Chain, models: Mapping[int, Model], first: int = 0) -> None:
        self._chain, self._models, self._first = chain, models, first

    def __len__(self) -> int:
        return len(self._chain)

    def window(self, start: int, stop: int) -> "Moved":
        """The links `start` to `stop - 1`."""
        return Moved(self._chain.window(start, stop), self._models, self._first + start)

    def beyond(self) -> Chain:
        """As of the chain."""
        return self._chain.beyond()

    def direct(self, k: int, cotangent: Tree) -> Pulled:
        """With the model's product in it."""
        pulled = self._chain.direct(k, cotangent)
        return pulled._replace(state=tree.add(pulled.state, self._modelled(k, pulled.gradient)))

    def curvature(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        """Without the model's product."""
        curved, mixed = self._chain.curvature(k, direction)
        return tree.subtract(curved, self._modelled(k, direction)), mixed

    def curvature_everywhere(self, directions: Tree) -> tuple[Tree, Tree]:
        """Without the models' products."""
        curved, mixed = self._chain.curvature_everywhere(directions)
        parts = [
            tree.subtract(tree.pick(curved, k), self._modelled(k, tree.pick(directions, k))) for k in range(len(self))
        ]
        return tree.stack(parts), mixed

    def _modelled(self, k: int, direction: Tree) -> Tree:
        model = self._models.get(self._first + k)
        return {} if model is None else {"adapted": model.product(direction)}


def krylov(chain: Chain, k: int, start: Tree, count: int) -> tuple[Tensor, Tensor]:
    """Directions and products [count, n] of a Lanczos iteration on the curvature of link k, one product a round."""
    directions: list[Tensor] = []
    products: list[Tensor] = []
    row = flat(start)
    for _ in range(count):
        for _ in range(2):  # once loses orthogonality where values have converged
            row = row - sum(((row @ d) * d for d in directions), torch.zeros_like(row))
        row = row / row.norm()
        curved, _ = chain.curvature(k, shaped(row, start))
        directions.append(row)
        row = flat(curved)
        products.append(row)
    return torch.stack(directions), torch.stack(products)


def basis_and_products(directions: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of the directions, and the products of its rows."""
    left, sizes, right = torch.linalg.svd(directions, full_matrices=False)
    kept = sizes > SPANNED * sizes[0]
    return right[kept], (left[:, kept] / sizes[kept]).T @ products


def positive_inverse(inner: Tensor) -> Tensor:
    """M⁺: the inverse where a symmetric matrix is clearly positive, and 0 elsewhere."""
    values, vectors = torch.linalg.eigh(inner)
    clear = values > CLEAR * values.abs().amax().clamp_min(torch.finfo(values.dtype).tiny)
    return (vectors * torch.where(clear, 1.0 / torch.where(clear, values, 1.0), 0.0)) @ vectors.T


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2
