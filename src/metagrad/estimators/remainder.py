"""What a truncated expansion leaves out, estimated from the products that it took: no further product."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metagrad import tree
from metagrad.estimators.base import Chain, Pulled
from metagrad.estimators.link_models import CLEAR, REST
from metagrad.tree import Tree

TRUSTED = 0.5
"""Largest remainder, relative to the estimate, that is reported as it is; above it the expansion may not converge."""

SHORT = 0.2
"""How much too short an adjoint built again is taken to be: the estimate's share in the logarithm of its length."""


@dataclass(frozen=True)
class Round:
    """One round of products at neighbouring links, link `low` first, stacked: leaves [n, …] of the adapted parameters.

    Attributes:
        low: the first link.
        directions: of which products were taken.
        products: H·direction of each, before any scale; of one structure with `directions`.
    """

    low: int
    directions: Tree
    products: Tree

    @staticmethod
    def of(low: int, directions: Tree, curved: Tree) -> "Round":
        """From stacked trees."""
        assert isinstance(curved, dict)
        return Round(low, directions, tree.fill(curved["adapted"], directions))

    def steepness(self, before: "Round | None") -> Tensor:
        """‖product‖ / ‖direction‖ of each link, [n]; where there was a round before, of the change since."""
        directions, products = self.directions, self.products
        if before is not None:
            directions = tree.map(_changed, directions, before.directions)
            products = tree.map(_changed, products, before.products)
        size = _norms(directions)
        return torch.where(size > 0, _norms(products) / torch.where(size > 0, size, 1.0), 0.0)


def relative_remainder(
    chain: Chain,
    entering: Tree,
    last: Round,
    before: Round | None,
    taken: dict[int, Pulled],
    final: dict[int, Pulled],
    damped: Tree,
    center: float,
    start: Tree,
) -> Tensor:
    """Estimate of ‖estimate − exact‖ / ‖exact‖ on the state before the first link, 0-d.

        r                                                     where r ≤ TRUSTED, or R overflows or is 0
        ‖estimate − R‖ / (‖R‖·max(1, ‖estimate‖/‖R‖)^SHORT)   elsewhere
        r = ‖ Σ_k H_k·δ_k + Σ_k (1 − c)·H_k·u_k + s·Σ_k D δ_k ‖ / ‖estimate‖,  ‖H_k δ_k‖ from ‖H_k·(last change of u_k)‖

    δ_k is the change of direction u_k since link k's last product, and H_k·δ_k is what the orders above L begin with.
    It is taken to point along δ_k, with the length that the link's products of the last two rounds suggest. What
    earlier links make of it is left out.

    A remainder that is not small says nothing of the exact adjoint: an expansion that overshoots leaves out about as
    much as it has. There R is the exact one built again from the last round, `rebuilt`, without an expansion. Its links
    know one direction each, so it is too short if anything: its length is taken a little nearer to the estimate's.

    Cost: no product; one more pass over the links of the last round. When it is wrong: where the exact adjoint is far
    longer than R, after many steep steps; mostly within a factor of three.

    Args:
        chain: of all links.
        entering: adjoint above the last round's links; exact but for the damping of the links above.
        last: the last round.
        before: the round before; None if there was none.
        taken: links pulled at the adjoints at which the last round took their products.
        final: links below the top one, pulled at their final adjoints.
        damped: Σ (1 − c)·H_k·u_k over all links; {} where c is 1.
        center: s.
        start: the estimate.
    """
    size = tree.norm(start)
    missing = damped
    if final:
        links = [k - last.low for k in final]
        steepness = last.steepness(before)
        change = [
            tree.scale(tree.subtract(pulled.gradient, tree.pick(last.directions, link)), steepness[link])
            for link, pulled in zip(links, final.values(), strict=True)
        ]
        if center != 0.0:
            moved = (tree.subtract(_adapted(final[k].state), _adapted(taken[k].state)) for k in final)
            change += [tree.scale(part, center) for part in moved]
        for part in change:
            missing = tree.add(missing, part)
    if isinstance(missing, dict) and not missing:
        return torch.zeros_like(size)
    relative = tree.quotient(tree.norm(missing), size, size > 0)
    again = rebuilt(chain, entering, last)
    short = tree.norm(again)
    length = short ** (1.0 - SHORT) * torch.maximum(short, size) ** SHORT
    distance = tree.norm(tree.subtract(start, again)) / length
    unknown = ~distance.isfinite()  # R overflows, or is 0
    return torch.where((relative <= TRUSTED) | unknown, relative, distance)


def rebuilt(chain: Chain, entering: Tree, last: Round) -> Tree:
    """An adjoint pulled through the links of one round, each with a model S in place of H.

        S = p·pᵀ / dᵀp + s·(I − d·dᵀ / dᵀd)                               where curvature along d is clearly positive
        S = (p·dᵀ + d·pᵀ) / dᵀd − d·(dᵀp)·dᵀ / (dᵀd)² + s·(I − d·dᵀ / dᵀd)   elsewhere

    d is the link's direction in the round, p = H·d its product, s the curvature assumed elsewhere. Both are symmetric
    and have S·d = p: a link that is reached by d itself is exact. These are the models of `link_models.py`
    after one round, made leaf by leaf: on small networks, compiled, one row of all parameters would take as long as
    their products.

    Args:
        chain: of all links.
        entering: on the state after the last of the round's links.
        last: the round.
    """
    squared, bend = _dots(last.directions, last.directions), _dots(last.directions, last.products)
    clear = bend > CLEAR * squared.sqrt() * _norms(last.products)
    elsewhere = REST * tree.quotient(bend.sum(), squared.sum(), squared.sum() > 0).clamp_min(0.0)
    adjoint = entering
    for link in range(len(bend) - 1, -1, -1):  # S·v, with v = pulled.gradient, term by term
        pulled = chain.direct(last.low + link, adjoint)
        direction, product = tree.pick(last.directions, link), tree.pick(last.products, link)
        along, across = tree.dot(pulled.gradient, direction), tree.dot(pulled.gradient, product)
        share = tree.quotient(along, squared[link], squared[link] > 0)
        bent = tree.quotient(across, bend[link], clear[link])
        back = tree.quotient(across - share * bend[link], squared[link], ~clear[link] & (squared[link] > 0))
        curved = tree.scale(product, torch.where(clear[link], bent, share))
        curved = tree.add(curved, tree.scale(direction, back - elsewhere * share))
        curved = tree.add(curved, tree.scale(pulled.gradient, elsewhere))
        adjoint = tree.add(pulled.state, {"adapted": curved})
    return adjoint


def _adapted(state: Tree) -> Tree:
    assert isinstance(state, dict)
    return state["adapted"]


def _changed(now: Tensor, before: Tensor) -> Tensor:
    # The links of the round before lie one further up.
    return torch.cat([now[:1], now[1:] - before[:-1]])


def _norms(stacked: Tree) -> Tensor:
    return _dots(stacked, stacked).sqrt()


def _dots(first: Tree, second: Tree) -> Tensor:
    """Of two stacked trees of one structure, entry by entry."""
    products = tree.map(lambda one, other: (one * other).reshape(len(one), -1).sum(dim=1), first, second)
    return torch.stack(tree.leaves(products)).sum(dim=0)
