"""Every product of curvature factors of one task, from which fixed combinations are judged, in hindsight too.

The exact pullback is Σ over all subsets of links of (curvature on these, direct on the others). A fixed truncation
gives each subset a coefficient; the best coefficients of a family are found from inner products of the terms alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

from metagrad import tree
from metagrad.estimators.base import Chain
from metagrad.tree import Tree
from metagrad_studies.spectra import flat

LEAST = 1e-24
"""Squared errors below this are rounding."""

Coefficients = Callable[[Tensor], Tensor]
"""Parameters of a family to the coefficient of each of 2^K terms."""


@dataclass(frozen=True)
class Terms:
    """One task's terms, known by their inner products.

    Attributes:
        steps: K.
        gram: inner products of the 2^K terms over ‖exact‖², [2^K, 2^K]; bit K − 1 − k of a number is set where link k
            puts its curvature.
    """

    steps: int
    gram: Tensor

    @staticmethod
    def of(chain: Chain, cotangent: Tree) -> "Terms":
        """2^K − 1 products."""
        terms = [cotangent]
        for k in reversed(range(len(chain))):
            pulled = [chain.direct(k, term) for term in terms]
            curved = [tree.fill(chain.curvature(k, part.gradient)[0], part.state) for part in pulled]
            terms = [*(part.state for part in pulled), *curved]
        rows = torch.stack([flat(term) for term in terms])
        return Terms(len(chain), rows @ rows.T / rows.sum(dim=0).square().sum())

    def squared_error(self, coefficients: Tensor) -> Tensor:
        """Relative, of Σ coefficient·term; exact is all ones."""
        off = coefficients - 1.0
        return off @ self.gram @ off


def orders(steps: int) -> Tensor:
    """How many links of each term put their curvature, [2^K]."""
    return torch.tensor([number.bit_count() for number in range(2**steps)])


def per_link_centers(steps: int, order: int) -> Coefficients:
    """`Binomial(order, center=s)` with an s for each link: parameters [K], link 0 first.

    Each link keeps (1 − s)·D or expands C + s·D, at most L times in all.
    """

    def coefficients(centers: Tensor) -> Tensor:
        taken = torch.zeros(1, order + 1, dtype=centers.dtype)
        taken[0, 0] = 1.0
        for k in reversed(range(steps)):
            raised = torch.nn.functional.pad(taken, (1, 0))[:, :-1]
            taken = torch.cat([(1.0 - centers[k]) * taken + centers[k] * raised, raised])
        return taken.sum(dim=1)

    return coefficients


def order_weights(steps: int, order: int) -> Coefficients:
    """A weight for each order 0 … L: parameters [L + 1]."""
    by_order = orders(steps)

    def coefficients(weights: Tensor) -> Tensor:
        return torch.nn.functional.pad(weights, (0, steps - order))[by_order]

    return coefficients


def center_by_norms(terms: Terms, order: int) -> Tensor:
    """A center for all links from the lengths of the last two orders, 0-d.

    With one eigenvalue e of αH at all links order l is C(K, l)·(−e)^l times g, and the ratio of orders L and L − 1
    e·(K − L + 1)/L. The center is in the middle of [0, e].
    """
    by_order = orders(terms.steps)
    last, before = ((by_order == number).to(terms.gram) for number in (order, order - 1))
    ratio = ((last @ terms.gram @ last) / (before @ terms.gram @ before)).clamp_min(0.0).sqrt()
    return 0.5 * ratio * order / (terms.steps - order + 1)


def centers_between(first: Tensor, last: Tensor, steps: int) -> Tensor:
    """Centers of the links [K]: half of the largest eigenvalues of αH at the first and the last, even steps between."""
    share = torch.linspace(0.0, 1.0, steps, dtype=first.dtype)
    return 0.5 * ((1.0 - share) * first + share * last)


def chebyshev_weights(steps: int, order: int, largest: float) -> Tensor:
    """Weights of the orders 0 … L for links that are alike, with eigenvalues of αH in [0, `largest`].

    (1 − x)^K, interpolated at the Chebyshev points of the interval by degree L, and read in powers of −x.
    """
    fitted = Chebyshev.interpolate(lambda x: (1.0 - x) ** steps, order, domain=[0.0, largest])
    powers = fitted.convert(kind=Polynomial, domain=[-1, 1], window=[-1, 1]).coef
    exact = Polynomial([1.0, -1.0]) ** steps
    return torch.tensor(np.pad(powers, (0, order + 1 - len(powers))) / exact.coef[: order + 1])


def fitted(tasks: Sequence[Terms], family: Coefficients, starts: Sequence[Tensor], iterations: int) -> Tensor:
    """Parameters with the least mean logarithm of the squared error over some tasks, by L-BFGS from each start."""
    found = [_descended(tasks, family, start, iterations) for start in starts]
    return min(found, key=lambda pair: pair[1])[0]


def _descended(tasks: Sequence[Terms], family: Coefficients, start: Tensor, iterations: int) -> tuple[Tensor, float]:
    with torch.enable_grad():
        parameters = start.clone().requires_grad_()
        descent = torch.optim.LBFGS([parameters], max_iter=iterations, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            coefficients = family(parameters)
            return torch.stack([task.squared_error(coefficients).clamp_min(LEAST).log() for task in tasks]).mean()

        def closure() -> Tensor:
            descent.zero_grad()
            value = loss()
            value.backward()
            return value

        descent.step(closure)  # pyright: ignore[reportArgumentType] -- the stub wants a float
        value = loss().item()
    return parameters.detach(), value if math.isfinite(value) else math.inf
