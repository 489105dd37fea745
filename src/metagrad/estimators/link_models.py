"""A model of each link's curvature, learned within one task from the link's own products.

Let the rows of Q be orthonormal and span the directions of which products were taken, and Z = Q·H those products. Let
M = Z·Qᵀ be their part within the span, and U = Z·(I − QᵀQ) their part outside it. On the span and its complement

    H = | M   U |     with X unknown,  taken for   X = Uᵀ M⁺ U + s·(I − QᵀQ).
        | Uᵀ  X |

Uᵀ M⁺ U is the least X with which a positive semidefinite H stays so (Schur's complement; Nyström's approximation; what
BFGS adds). M⁺ inverts M where curvature is clearly positive, and is 0 elsewhere. s is a tenth of the Rayleigh quotient
of the last round. Mixed terms are taken for zero beyond the span: to complete them too, as rows of one Hessian on
(adapted, meta), measured better on quadratic losses but worse on networks.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metagrad import tree
from metagrad.tree import Tree

REST = 0.1
"""Curvature where no product was taken, as a share of the Rayleigh quotient of the last round."""

CLEAR = 0.1
"""Least cosine between a direction and its product with which its curvature counts as clearly positive."""


class Product(NamedTuple):
    """What a model says of one link: product [d] and mixed term [m], at a direction changed since its last product."""

    curved: Tensor
    mixed: Tensor
    change: Tensor


@dataclass(frozen=True)
class Answers:
    """One round of products at n links, as rows.

    Attributes:
        directions: [n, d].
        values: products and mixed terms, [n, d + m].
        like: a direction and a mixed term, for their structure.
    """

    directions: Tensor
    values: Tensor
    like: tuple[Tree, Tree]

    @staticmethod
    def of(directions: Tree, curved: Tree, mixed: Tree) -> "Answers":
        """From stacked trees."""
        assert isinstance(curved, dict)
        products: Tree = {"curved": tree.fill(curved["adapted"], directions), "mixed": mixed}
        return Answers(_rows(directions), _rows(products), (tree.pick(directions, 0), tree.pick(mixed, 0)))

    def shaped(self, product: Product) -> tuple[Tree, Tree]:
        """(Lifted product, mixed term) of one link."""
        return {"adapted": tree.shaped(product.curved, self.like[0])}, tree.shaped(product.mixed, self.like[1])

    def rayleigh(self) -> Tensor:
        """Rayleigh quotient of all directions together, 0-d; 0 if they are zero."""
        squared = self.directions.square().sum()
        bend = (self.directions * self.values[:, : self.directions.shape[1]]).sum()
        return tree.quotient(bend, squared, squared > 0)


@dataclass(frozen=True)
class LinkModels:
    """Models of the curvature of n neighbouring links after r rounds; a row of zeros where there was nothing to learn.

    Attributes:
        last: the last round, which every product is taken relative to: this keeps rounding out of small changes.
        rows: Q above Z, [n, 2r, d].
        mixed: mixed terms of Q, [n, r, m].
        inverse: M⁺, [n, r, r].
        rest: s, 0-d.
        core: [n, 2r, 2r]; the model is rowsᵀ·core·rows + s·I.
    """

    last: Answers
    rows: Tensor
    mixed: Tensor
    inverse: Tensor
    rest: Tensor
    core: Tensor

    @staticmethod
    def first(answers: Answers) -> "LinkModels":
        """From one round."""
        width = answers.directions.shape[1]
        return _learned(answers, answers.directions[:, None][:, :0], answers.values[:, None][:, :0, width:], None)

    def after(self, answers: Answers) -> "LinkModels":
        """After one more round, without the link at the top; a link that is new at the low end begins with nothing."""
        left = len(self.rows) - 1
        before = (
            torch.cat([torch.zeros_like(t[: len(answers.directions) - left]), t[:left]])
            for t in (self.rows, self.mixed, self.inverse)
        )
        return _learned(answers, *before)

    def product(self, link: int, gradient: Tree) -> Product:
        """S·direction and mixed term: those of the last round, and the model applied to the change since."""
        last, rows = self.last.values[link], self.rows[link]
        change = tree.flat(gradient) - self.last.directions[link]
        width = len(change)
        shares = rows @ change
        curved = last[:width] + self.rest * change + (self.core[link] @ shares) @ rows
        mixed = last[width:]
        if len(mixed):
            mixed = mixed + shares[: len(rows) // 2] @ self.mixed[link]
        return Product(curved, mixed, change)


def _learned(answers: Answers, rows: Tensor, mixed: Tensor, inverse: Tensor | None) -> LinkModels:
    """Make the new directions orthonormal to the basis, their products likewise; then M, M⁺ and the core."""
    rounds, width = mixed.shape[1], rows.shape[2]
    basis, products = rows[:, :rounds], rows[:, rounds:]
    direction, answer = answers.directions.unsqueeze(1), answers.values.unsqueeze(1)
    product, term = answer[..., :width], answer[..., width:]
    size = whole = direction.norm(dim=2, keepdim=True)
    if inverse is not None:
        share = direction @ basis.mT
        direction = direction - share @ basis
        product, term = product - share @ products, term - share @ mixed
        size = direction.norm(dim=2, keepdim=True)
    # A direction that lies in the span but for rounding is no new one: its rows become zero.
    new = size > whole * torch.finfo(size.dtype).eps ** 0.5
    factor = tree.quotient(torch.ones_like(size), size, new)
    rows = torch.cat([basis, direction * factor, products, product * factor], dim=1)
    mixed = torch.cat([mixed, term * factor], dim=1)
    basis, products = rows[:, : rounds + 1], rows[:, rounds + 1 :]
    inner = basis @ products.mT  # M, symmetric but for rounding
    inner = (inner + inner.mT) / 2
    inverse = _widened(inverse, inner, products)
    covered = inner @ inverse  # M M⁺: the part of the span in which curvature is clearly positive
    rest = REST * answers.rayleigh().clamp_min(0.0)
    # S in terms of the rows [Q; Z], by U = Z − M Q:  QᵀMQ + QᵀU + UᵀQ + UᵀM⁺U + s(I − QᵀQ)
    #   = Qᵀ(M M⁺ M − M − s)Q + Qᵀ(1 − M M⁺)Z + Zᵀ(1 − M⁺ M)Q + ZᵀM⁺Z + sI.
    unit = torch.eye(inner.shape[2], dtype=inner.dtype, device=inner.device)
    upper = torch.cat([covered @ inner - inner - rest * unit, unit - covered], dim=2)
    lower = torch.cat([(unit - covered).mT, inverse], dim=2)
    core = torch.cat([upper, lower], dim=1)
    return LinkModels(answers, rows, mixed, inverse, rest, core)


def _widened(inverse: Tensor | None, inner: Tensor, products: Tensor) -> Tensor:
    """M⁺ after one more direction: made conjugate to those before and added, or left out."""
    last = inner.shape[2] - 1
    if inverse is None:
        inverse, conjugate = torch.zeros_like(inner), torch.ones_like(inner)
    else:
        inverse = torch.nn.functional.pad(inverse, (0, 1, 0, 1))
        conjugate = -inner[:, last:] @ inverse
        conjugate = torch.cat([conjugate[..., :last], torch.ones_like(conjugate[..., :1])], dim=2)
    # With v conjugate to the directions before (v M w = 0), M⁺ grows by v vᵀ / (v M vᵀ): no inverse is computed.
    bend = conjugate @ inner @ conjugate.mT
    size = (conjugate @ products).norm(dim=2, keepdim=True) * conjugate.norm(dim=2, keepdim=True)
    return inverse + conjugate.mT @ tree.quotient(conjugate, bend, bend > CLEAR * size)


def _rows(stacked: Tree) -> Tensor:
    return torch.cat([leaf.reshape(len(leaf), -1) for leaf in tree.leaves(stacked)], dim=1)
