"""The binomial expansion of the product of inner-step Jacobians, cut at a number of curvature factors."""

from dataclasses import dataclass
from typing import Any, Literal

from metagrad import checks, tree
from metagrad.estimators.base import Adjoint, Chain, Cost, Pullback, Pulled
from metagrad.estimators.family import Family
from metagrad.estimators.learned_center import pull_about_learned_center
from metagrad.estimators.remainder import Round, relative_remainder
from metagrad.tree import Tree


@dataclass(frozen=True)
class Binomial(Pullback):
    """Every term with at most `order` curvature factors, in `order` rounds of products done side by side.

        Σ_{l ≤ L} Σ_{k₁ < … < k_l} ∏ᵢ (−αH_{kᵢ}) · g     (for SGD, scale 1, center 0)

    In general a link is D + C, direct plus curvature. With scale c and center s it is written as
    (1 − s)·D + (c·C + s·D), and the product is expanded in the second summand. With center "auto" an operator takes the
    place of s·D: a model of each link's curvature, learned within the task from the products that the expansion needs
    anyway. It needs no tuning. The estimate is then no longer linear in the outer gradient, only homogeneous.

    Diagnostics, if L > 0: "error_estimate", an estimate of the relative error on the state before the first step. It
    needs no further product.

    Cost: L(K − L + 1) products in L rounds, L = min(order, K). For 1 < L < K that is *more* products than `Exact`, in
    fewer rounds.
    Memory: one round, K − L + 1 products at a time; `link_chunk` of the loop bounds it. "auto" keeps up to 2L + 2
    further copies of the adapted parameters for each of these.
    When it is wrong: the error is of the order of (K·α·‖H‖)^{L+1}/(L+1)!, and the expansion overshoots once K·α·λmax
    passes 2 or 3. Then center "auto", a center near the middle of the spectrum of αH, scale "paper" or a higher order
    helps. "auto" is inaccurate when the Hessian has more than about L large eigenvalues; `Parallel` then has a smaller
    error in as many rounds. On networks of a few thousand numbers its linear algebra adds some half to the time,
    uncompiled. With scale 1, an order of K or more is exact.
    Source: equation 8 and algorithms 1 and 2 of the binomial paper (its triangular matrix must include the diagonal);
    both kinds of center are ours.

    Args:
        order: L, the largest number of curvature factors kept, at least 0; 0 with center 0 is `FirstOrder`.
        scale: c, or "paper" for L/K, which the paper uses on real data. It damps the overshoot, and is less accurate
            where steps are small.
        center: s, the point that the expansion is taken about, in units of αλ; 0 is the paper's; "auto" for a
            learned operator.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: `order` is negative, `scale` or `center` is not finite, or a `scale` beside a center of "auto".

    Example:
        >>> Binomial(order=2).cost(num_steps=5)  # more products than Exact, in fewer rounds
        Cost(products=8, rounds=2, solves=0)
        >>> from metagrad.estimators import CurvatureRange, Truncated, error_bound
        >>> steps = CurvatureRange.lipschitz([0.1] * 5)  # the norm of α·H at each of five steps
        >>> f"{error_bound(Binomial(order=2), steps):.4f} {error_bound(Truncated(window=2), steps):.4f}"
        '0.0105 0.4005'
    """

    order: int
    scale: float | Literal["paper"] = 1.0
    center: float | Literal["auto"] = 0.0

    def __post_init__(self) -> None:
        checks.integer("order", self.order, least=0)
        if self.scale != "paper":
            checks.number('scale (a number or "paper")', self.scale)
        if self.center != "auto":
            checks.number('center (a number or "auto")', self.center)
        elif self.scale != 1.0:
            raise ValueError(
                f'scale must stay 1 with center "auto", which damps by itself, got {self.scale!r}: '
                "take center=0 beside a scale"
            )

    def pull(self, chain: Chain, cotangent: Tree) -> Adjoint:
        """Pull a cotangent back in L rounds."""
        if self.center == "auto":
            return pull_about_learned_center(chain, cotangent, range(min(self.order, len(chain)) - 1, -1, -1))
        return self._expand(chain, cotangent, self.center)

    def cost(self, num_steps: int) -> Cost:
        """L(K − L + 1) products in L rounds."""
        order = min(self.order, num_steps)
        return Cost(products=order * (num_steps - order + 1), rounds=order)

    def _expand(self, chain: Chain, cotangent: Tree, center: float) -> Adjoint:
        """Raise a band of K − L + 1 adjoints from order 0 to order L.

        Write λˡ_k for the adjoint of order l before link k. It obeys
            λˡ_k = (1 − s)·D λˡ_{k+1} + s·D λˡ⁻¹_{k+1} + c·C λˡ⁻¹_{k+1},
        and equals λˡ⁻¹_k wherever at most l − 1 links follow. So level l needs products at links L−1−l … K−1−l only,
        and `band[k]` holds D λˡ_{k+1} for exactly those. The link at the top of the band is done when it leaves it;
        all others are done at the last level.
        """
        steps = len(chain)
        order = min(self.order, steps)
        factor = self._factor(steps)
        adjoint = cotangent
        meta: Tree = {}

        band: dict[int, Pulled] = {}
        before: Round | None = None
        damped: Tree = {}
        entering = cotangent
        for k in range(steps - 1, max(order, 1) - 2, -1):
            band[k] = chain.direct(k, adjoint)
            adjoint = _blend(band[k].state, {}, center)
            if order == 0:
                meta = tree.add(meta, _blend(band[k].meta, {}, center))

        for level in range(order):
            low, top = order - 1 - level, steps - 1 - level
            directions = tree.stack([band[k].gradient for k in range(low, top + 1)])
            curved, mixed = chain.window(low, top + 1).curvature_everywhere(directions)
            last = Round.of(low, directions, curved)
            if factor != 1.0:
                done = tree.pick(last.products, slice(-1, None)) if low > 0 else last.products
                left_out = tree.map(lambda leaf: (1.0 - factor) * leaf.sum(dim=0), done)
                damped = tree.add(damped, left_out)
                curved, mixed = tree.scale(curved, factor), tree.scale(mixed, factor)

            above = adjoint = tree.add(band[top].state, tree.pick(curved, top - low))
            meta = tree.add(meta, tree.add(band[top].meta, tree.pick(mixed, top - low)))
            raised: dict[int, Pulled] = {}
            for k in range(top - 1, low - 1, -1):
                raised[k] = chain.direct(k, adjoint)
                adjoint = tree.add(_blend(raised[k].state, band[k].state, center), tree.pick(curved, k - low))
                if level == order - 1:
                    link_meta = _blend(raised[k].meta, band[k].meta, center)
                    meta = tree.add(meta, tree.add(link_meta, tree.pick(mixed, k - low)))
            if low == 0:
                error = relative_remainder(chain, entering, last, before, band, raised, damped, center, adjoint)
                return Adjoint(adjoint, meta, {"error_estimate": error})
            raised[low - 1] = chain.direct(low - 1, adjoint)
            band, before, entering = raised, last, tree.add(above, {"adapted": damped})
        return Adjoint(adjoint, meta)

    def _factor(self, steps: int) -> float:
        if self.scale == "paper":
            return min(self.order, steps) / max(steps, 1)
        return float(self.scale)


def _blend(this_order: Tree, order_below: Tree, center: float) -> Tree:
    """(1 − s)·this_order + s·order_below."""
    if center == 0.0:
        return this_order
    return tree.add(tree.scale(this_order, 1.0 - center), tree.scale(order_below, center))


_COST: dict[str, Any] = {"products": "L(K−L+1)", "rounds": "L", "size": "order"}
_PLAIN: dict[str, Any] = {"scale": 1.0, "center": 0.0}

Binomial.families = (
    Family(
        name='Binomial, center="auto"',
        usual=Binomial(order=2, center="auto"),
        call='Binomial(order=L, center="auto")',
        aliases=("binomial-auto",),
        keeps="the terms of `Binomial`, expanded about a learned model of each link's curvature",
        take="rounds cost more than products, and steps are large",
        wrong="inaccurate when the Hessian has more than about L large eigenvalues; `diagnostics` has an estimate",
        color="#882255",
        marker="*",
        fixed={"center": "auto"},
        whole=True,
        members=lambda num_steps: [Binomial(order, center="auto") for order in range(1, num_steps)],
        remedy="a higher order, Parallel(rounds=3)",
        **_COST,
    ),
    Family(
        name="Binomial",
        usual=Binomial(order=2),
        call="Binomial(order=L)",
        aliases=("BinomMAML",),
        keeps="all terms with at most L curvature factors",
        take="rounds cost more than products, and K·α·λmax stays below 2",
        wrong="error about (K·α‖H‖)^(L+1)/(L+1)!: tiny for small steps, overshoots once K·α·λmax passes 2 or 3",
        color="#0072B2",
        marker="o",
        fixed=_PLAIN,
        whole=True,
        members=lambda num_steps: [Binomial(order) for order in range(1, num_steps)],
        remedy="a higher order, scale='paper', center='auto'",
        **_COST,
    ),
    Family(
        name='Binomial, scale="paper"',
        usual=Binomial(order=2, scale="paper"),
        call='Binomial(order=L, scale="paper")',
        aliases=("binomial-paper",),
        keeps="the terms of `Binomial`, curvature damped by L/K",
        take="you repeat the binomial paper's runs on real data",
        wrong="safe at large steps, as inaccurate as truncation at small ones",
        color="#56B4E9",
        marker="^",
        fixed=_PLAIN | {"scale": "paper"},
        members=lambda num_steps: [Binomial(order, scale="paper") for order in range(1, num_steps)],
        remedy="a higher order, center='auto'",
        **_COST,
    ),
    Family(
        name="Binomial, other scale or center",
        usual=Binomial(order=2, center=0.5),
        call="Binomial(order=L, center=s)",
        keeps="the terms of `Binomial`, expanded about αλ = s",
        take="you know the eigenvalues of αH",
        wrong="error smallest where s is near the middle of the eigenvalues of αH",
        color="#0F5C6B",
        marker="8",
        members=lambda _: [],
        auto=False,
        remedy="a higher order, center='auto'",
        **_COST,
    ),
)
