"""`Binomial(center="auto")` and `Parallel` once more: link by link, without stacks, windows or updates of models.

A plan names the links that are asked for a curvature product in each round. Every round walks the chain again, and
builds each link's model anew from all pairs (direction, product) that the link has.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from matrix_chain import flatten
from metagrad import tree
from metagrad.estimators.base import Chain
from metagrad.estimators.link_models import CLEAR, REST
from metagrad.tree import Tree

Plan = Sequence[range]
Inverse = Callable[[Tensor, Tensor], Tensor]  # M⁺ from M [r, r] and the answers [r, n]
SPANNED = 1e-6  # a direction counts as new if this share of it is


def band(steps: int, order: int) -> Plan:
    """`Binomial(order, center="auto")`: L rounds of K − L + 1 links."""
    return [range(order - r, steps - r + 1) for r in range(1, order + 1)]


def triangle(steps: int, order: int) -> Plan:
    """`Parallel(order)`: round r asks links 0 … K − r."""
    return [range(steps + 1 - r) for r in range(1, order + 1)]


def of_the_largest(inner: Tensor, answers: Tensor) -> Tensor:
    """M⁺ where curvature is positive and no small share of the largest among what was asked."""
    del answers
    values, vectors = torch.linalg.eigh(inner)
    clear = values > CLEAR * values.abs().amax().clamp_min(torch.finfo(values.dtype).tiny)
    return (vectors * torch.where(clear, 1.0 / torch.where(clear, values, 1.0), 0.0)) @ vectors.T


def by_cosine(inner: Tensor, answers: Tensor) -> Tensor:
    """M⁺ where a direction and its product have a cosine of `CLEAR`, as in `link_models`."""
    values, vectors = torch.linalg.eigh(inner)
    clear = values > CLEAR * (answers.T @ vectors).norm(dim=0)
    return (vectors * torch.where(clear, 1.0 / torch.where(clear, values, 1.0), 0.0)) @ vectors.T


def carried_out(chain: Chain, cotangent: Tree, plan: Plan, inverse: Inverse) -> Tensor:
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
            pairs.setdefault(k, []).append((directions[k], curved["adapted"]))
        last = [pairs[k][-1] for k in links]
        bend, size = (sum(float(d @ other) for d, other in part) for part in (last, [(d, d) for d, _ in last]))
        rest = REST * max(bend / size, 0.0) if size else 0.0
    return flatten(_walked(chain, cotangent, pairs, rest, inverse)[0])


def _walked(chain, cotangent, pairs, rest, inverse) -> tuple[Tree, dict[int, Tensor]]:
    directions: dict[int, Tensor] = {}
    for k in reversed(range(len(chain))):
        pulled = chain.direct(k, cotangent)
        directions[k] = row = pulled.gradient
        modelled = _product(row, pairs[k], rest, inverse) if k in pairs else rest * row
        cotangent = tree.add(pulled.state, {"adapted": modelled})
    return cotangent, directions


def _product(row: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], rest: float, inverse: Inverse) -> Tensor:
    directions, products = (torch.stack(side) for side in zip(*pairs, strict=True))
    left, sizes, right = torch.linalg.svd(directions, full_matrices=False)
    kept = sizes > SPANNED * sizes[0]
    basis, answers = right[kept], (left[:, kept] / sizes[kept]).T @ products
    inner = answers @ basis.T
    inner = (inner + inner.T) / 2
    beyond = answers - inner @ basis
    along, across = basis @ row, beyond @ row
    on_basis = inner @ along + across - rest * along
    return rest * row + on_basis @ basis + (along + inverse(inner, answers) @ across) @ beyond
