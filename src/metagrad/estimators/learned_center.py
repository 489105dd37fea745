"""The binomial expansion about an operator that is learned, within one task, from its own products.

Link k is D + C, direct plus curvature, and C is H between a map onto the gradient and a lift. `Binomial` expands in
all of C; a scalar center moves a multiple of D out of it. Here a whole operator moves: H = S + (H − S), with a
symmetric model S for each link that is cheap to apply, and the expansion is in H − S. Round r = 1 … L asks links
L − r … K − r for a product, the same as `Binomial` does, but each at the best present estimate of the adjoint that
reaches it. The answers improve the models, and all adjoints are pulled again through them, without a model call. What
the estimate leaves out is H − S applied to the *change* of a direction since it was last asked; on all that was asked,
H − S vanishes.

**The model of one link.** Let the rows of Q be orthonormal and span the directions asked so far, Z = Q·H the answers,
M = Z·Qᵀ, and U = Z·(I − QᵀQ) what sticks out of the span. On the span and its complement

    H = | M   U |     with X unknown,  taken for   X = Uᵀ M⁺ U + s·(I − QᵀQ).
        | Uᵀ  X |

Uᵀ M⁺ U is the least X with which a positive semidefinite H stays so (Schur's complement; Nyström's approximation; what
BFGS adds). M⁺ inverts M where curvature is clearly positive, and is 0 elsewhere. s is a tenth of the Rayleigh quotient
of the last round. Mixed terms are taken for zero beyond the span: to complete them too, as rows of one Hessian on
(adapted, meta), measured better on quadratic losses but worse on networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metagrad import tree
from metagrad.estimators.base import Adjoint, Chain, Pulled
from metagrad.estimators.exact import FirstOrder
from metagrad.tree import Tree

REST = 0.1
"""Curvature where nothing was asked, as a share of the Rayleigh quotient of the last round."""

CLEAR = 0.1
"""Least cosine between a direction and its product with which its curvature counts as clearly positive."""


def pull_about_learned_center(chain: Chain, cotangent: Tree, order: int) -> Adjoint:
    """Pull a cotangent back in L = min(order, K) rounds of K − L + 1 products.

    The link at the top of the band gets its product at its final direction, so its adjoint is as good as what reaches
    it: order K is exact. Diagnostics, if there was a round: "error_estimate", see `_error`.
    """
    steps = len(chain)
    order = min(order, steps)
    if order == 0:
        return FirstOrder().pull(chain, cotangent)
    adjoint = cotangent
    meta: Tree = {}
    asked: dict[int, Pulled] = {}
    for k in range(steps - 1, order - 2, -1):
        asked[k] = chain.direct(k, adjoint)
        adjoint = asked[k].state

    models: LinkModels | None = None
    guesses: list[Product] = []
    for level in range(order):
        low, top = order - 1 - level, steps - 1 - level
        directions = tree.stack([asked[k].gradient for k in range(low, top + 1)])
        curved, mixed = chain.window(low, top + 1).curvature_everywhere(directions)
        answers = Answers.of(directions, curved, mixed)
        earlier, guesses = guesses, []
        models = LinkModels.first(answers) if models is None else models.moved_down(answers)

        adjoint = tree.add(asked[top].state, tree.pick(curved, top - low))
        meta = tree.add(meta, tree.add(asked[top].meta, tree.pick(mixed, top - low)))
        again: dict[int, Pulled] = {}
        for k in range(top - 1, low - 1, -1):
            again[k] = chain.direct(k, adjoint)
            guesses.append(models.product(k - low, again[k].gradient))
            curved_k, mixed_k = answers.shaped(guesses[-1])
            adjoint = tree.add(again[k].state, curved_k)
            if low == 0:
                meta = tree.add(meta, tree.add(again[k].meta, mixed_k))
        if low > 0:
            again[low - 1] = chain.direct(low - 1, adjoint)
            asked = again
        else:
            return Adjoint(adjoint, meta, {"error_estimate": _error(_distrust(answers, earlier), guesses, adjoint)})
    raise AssertionError("the last level returns")


class Product(NamedTuple):
    """What a model says of one link: product [d] and mixed term [m] at a direction that changed since it was asked."""

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
        return {"adapted": _shaped(product.curved, self.like[0])}, _shaped(product.mixed, self.like[1])

    def rayleigh(self) -> Tensor:
        """Rayleigh quotient of all directions together, 0-d; 0 if they are zero."""
        squared = self.directions.square().sum()
        bend = (self.directions * self.values[:, : self.directions.shape[1]]).sum()
        return _quotient(bend, squared, squared > 0)


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

    def moved_down(self, answers: Answers) -> "LinkModels":
        """After one more round, with a new link at the low end, and without the one at the top."""
        before = (torch.cat([torch.zeros_like(t[:1]), t[:-1]]) for t in (self.rows, self.mixed, self.inverse))
        return _learned(answers, *before)

    def product(self, link: int, gradient: Tree) -> Product:
        """S·direction and mixed term: those of the last round, and the model applied to the change since."""
        last, rows = self.last.values[link], self.rows[link]
        change = _row(gradient) - self.last.directions[link]
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
    new = size > whole * torch.finfo(size.dtype).eps ** 0.5
    factor = _quotient(torch.ones_like(size), size, new)
    rows = torch.cat([basis, direction * factor, products, product * factor], dim=1)
    mixed = torch.cat([mixed, term * factor], dim=1)
    basis, products = rows[:, : rounds + 1], rows[:, rounds + 1 :]
    inner = basis @ products.mT
    inner = (inner + inner.mT) / 2
    inverse = _widened(inverse, inner, products)
    covered = inner @ inverse
    rest = REST * answers.rayleigh().clamp_min(0.0)
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
    bend = conjugate @ inner @ conjugate.mT
    size = (conjugate @ products).norm(dim=2, keepdim=True) * conjugate.norm(dim=2, keepdim=True)
    return inverse + conjugate.mT @ _quotient(conjugate, bend, bend > CLEAR * size)


def _distrust(answers: Answers, guesses: Sequence[Product]) -> Tensor:
    """How wrong the models were a round ago, ‖product − guess‖ / ‖change‖ over all links; 0-d.

    Before there are models the guess is 0 and the change is the whole direction.
    """
    width = answers.directions.shape[1]
    missed, change = answers.values[:, :width], answers.directions
    if guesses:  # from the top down, and none for the new link
        missed = missed[1:] - torch.stack([guess.curved for guess in reversed(guesses)])
        change = torch.stack([guess.change for guess in guesses])
    change = change.norm()
    return _quotient(missed.norm(), change, change > 0)


def _error(distrust: Tensor, guesses: Sequence[Product], start: Tree) -> Tensor:
    """Estimate of the relative error: what the models add unasked, wrong by as much as they were in the last round."""
    size = tree.norm(start)
    if not guesses:
        return torch.zeros_like(size)
    change = torch.stack([guess.change for guess in guesses]).norm()
    return _quotient(distrust * change, size, size > 0)


def _quotient(part: Tensor, whole: Tensor, where: Tensor) -> Tensor:
    """`part` over `whole` where it is asked for, and 0 elsewhere."""
    return torch.where(where, part / torch.where(where, whole, 1.0), 0.0)


def _rows(stacked: Tree) -> Tensor:
    return torch.cat([leaf.reshape(len(leaf), -1) for leaf in tree.leaves(stacked)], dim=1)


def _row(single: Tree) -> Tensor:
    return torch.cat([leaf.reshape(-1) for leaf in tree.leaves(single)])


def _shaped(row: Tensor, like: Tree) -> Tree:
    pieces = iter(row.split([leaf.numel() for leaf in tree.leaves(like)]))
    return tree.map(lambda leaf: next(pieces).view(leaf.shape), like)
