"""Which links are asked in which round, when each is asked at the best present estimate of the adjoint that reaches it.

`Binomial(L, center="auto")` asks links L − r … K − r in round r, so that the first link has one product only;
`Parallel(L)` asks links 0 … K − r. Between the two, some links can be asked again, beside the others.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.frontier_chains import basis_and_products, positive_inverse
from metagrad import tree
from metagrad.estimators.base import Chain
from metagrad.estimators.link_models import CLEAR, REST
from metagrad.tree import Tree
from metagrad_studies.spectra import flat, shaped

Plan = Sequence[range]
"""Links asked in each round."""

Inverse = Callable[[Tensor, Tensor], Tensor]
"""M⁺ from M [r, r] and the answers [r, n]."""


def of_the_largest(inner: Tensor, answers: Tensor) -> Tensor:
    """M⁺ where curvature is positive and no small share of the largest among what was asked."""
    del answers
    return positive_inverse(inner)


def by_cosine(inner: Tensor, answers: Tensor) -> Tensor:
    """M⁺ where a direction and its product have a cosine of `CLEAR`, as in `link_models`."""
    values, vectors = torch.linalg.eigh(inner)
    clear = values > CLEAR * (answers.T @ vectors).norm(dim=0)
    return (vectors * torch.where(clear, 1.0 / torch.where(clear, values, 1.0), 0.0)) @ vectors.T


def band(steps: int, order: int) -> Plan:
    """As `Binomial`: L rounds of K − L + 1 links."""
    return [range(order - r, steps - r + 1) for r in range(1, order + 1)]


def first_again(steps: int, order: int) -> list[list[int]]:
    """As `Binomial`, and the first link in every round."""
    return [sorted({0, *links}) for links in band(steps, order)]


def carried_out(
    chain: Chain, cotangent: Tree, plan: Sequence[Sequence[int]], inverse: Inverse = of_the_largest
) -> Tensor:
    """The flat cotangent on the first state, pulled through models of the links that learn from each round.

    A model is exact on what a link was asked, completed beyond it as in `link_models`, with `REST` of the mean
    curvature met in the last round elsewhere.
    """
    pairs: dict[int, list[tuple[Tensor, Tensor]]] = {}
    rest = 0.0
    for links in plan:
        _, directions = _walked(chain, cotangent, pairs, rest, inverse)
        for k in links:
            curved, _ = chain.curvature(k, directions[k])
            pairs.setdefault(k, []).append((flat(directions[k]), flat(curved)))
        last = [pairs[k][-1] for k in links]
        bend, size = (sum(float(d @ other) for d, other in part) for part in (last, [(d, d) for d, _ in last]))
        rest = REST * max(bend / size, 0.0) if size else 0.0
    return flat(_walked(chain, cotangent, pairs, rest, inverse)[0])


def _walked(
    chain: Chain, cotangent: Tree, pairs: dict[int, list[tuple[Tensor, Tensor]]], rest: float, inverse: Inverse
) -> tuple[Tree, dict[int, Tree]]:
    directions: dict[int, Tree] = {}
    for k in reversed(range(len(chain))):
        pulled = chain.direct(k, cotangent)
        directions[k] = pulled.gradient
        row = flat(pulled.gradient)
        asked = pairs.get(k)
        modelled = rest * row if asked is None else _product(row, asked, rest, inverse)
        cotangent = tree.add(pulled.state, {"adapted": shaped(modelled, pulled.gradient)})
    return cotangent, directions


def _product(row: Tensor, asked: Sequence[tuple[Tensor, Tensor]], rest: float, inverse: Inverse) -> Tensor:
    basis, products = basis_and_products(*(torch.stack(side) for side in zip(*asked, strict=True)))
    inner = products @ basis.T
    inner = (inner + inner.T) / 2
    beyond = products - inner @ basis
    along, across = basis @ row, beyond @ row
    on_basis = inner @ along + across - rest * along
    return rest * row + on_basis @ basis + (along + inverse(inner, products) @ across) @ beyond
