"""Theorems 3.6, 3.8 and 3.10 of the binomial paper in closed form, as printed, for one curvature at all links.

For plots and for comparison; `bounds.error_bound` holds more widely, and is never above them where they are true.
"""

import math

from metagrad import checks
from metagrad.estimators.base import Pullback
from metagrad.estimators.binomial import Binomial
from metagrad.estimators.exact import FirstOrder
from metagrad.estimators.split import Truncated


def theorem_3_6(estimator: Pullback, num_steps: int, curvature: float) -> float:
    """Error relative to ‖g‖ for inner gradients that are H-Lipschitz, c = αH.

        FirstOrder: (1 + c)^K − 1     Truncated(L): (1 + c)^K − (1 + c)^L     Binomial(L): Σ_{l > L} C(K, l) c^l

    Attained by E_k = −c·I. True as printed, for any c ≥ 0.

    Args:
        estimator: FirstOrder, Truncated or plain Binomial; L ≥ K is exact, 0.
        num_steps: K, at least 0.
        curvature: c = αH, at least 0, without unit.

    Raises:
        TypeError: the theorem does not speak of this estimator.
        ValueError: a number out of range, or a scaled or centred Binomial.

    Example:
        >>> f"{theorem_3_6(FirstOrder(), num_steps=5, curvature=0.1):.4f}"  # 1.1⁵ − 1
        '0.6105'
    """
    kept = _kept(estimator, num_steps)
    checks.number("curvature (alpha·H)", curvature, least=0)
    if isinstance(estimator, Binomial):
        return _binomial_tail(num_steps, kept, curvature)
    return (1.0 + curvature) ** kept * math.expm1((num_steps - kept) * math.log1p(curvature))


def theorem_3_8(estimator: Pullback, num_steps: int, curvature: float) -> float:
    """Error relative to ‖g‖ for convex inner losses with H-Lipschitz gradients and α ≤ 1/H, c = αH.

        FirstOrder: 1 − (1 − c)^K     Truncated(L): 1 − (1 − c)^{K−L}     Binomial(L): C(K, L+1) c^{L+1}

    When it is wrong: the first two hold for Hessians that commute. The printed proof takes ∏(I − E_k) for symmetric;
    with Hessians that do not commute the error of FirstOrder can be 1.155 at K = 2, c = 1, where the formula says 1.
    They hold in general as long as c is small (c ≤ 2 − √2 = 0.586 at K = 2, c ≤ 0.276 at K = 5): exactly where
    `error_bound(estimator, CurvatureRange.convex([c] * K))` is not above them. Binomial needs c ≤ 2 only, and is loose.

    Args:
        estimator: FirstOrder, Truncated or plain Binomial; L ≥ K is exact, 0.
        num_steps: K, at least 0.
        curvature: c = αH, above 0, at most 1.

    Raises:
        TypeError: the theorem does not speak of this estimator.
        ValueError: a number out of range, or a scaled or centred Binomial.

    Example:
        >>> f"{theorem_3_8(FirstOrder(), num_steps=5, curvature=0.1):.4f}"  # 1 − 0.9⁵
        '0.4095'
    """
    kept = _kept(estimator, num_steps)
    _within_one(curvature, "theorem_3_8", "CurvatureRange.convex([...])")
    if isinstance(estimator, Binomial):
        return math.comb(num_steps, kept + 1) * curvature ** (kept + 1)
    return -math.expm1(_log_power(-curvature, num_steps - kept))


def theorem_3_10(estimator: Pullback, num_steps: int, curvature: float, smallest: float, convex_steps: int) -> float:
    """Error relative to ‖g‖ if only the last M inner steps are strongly convex, αh ≤ E_k ≤ c = αH ≤ 1 there.

        FirstOrder:    max{(1 + c)^{K−M} (1 − αh)^M − 1, 1 − (1 − c)^K}
        Truncated(L):  [(1 + c)^{K−M} − (1 + c)^{L−M}] (1 − αh)^M
        Binomial(L):   c^{L+1} Σ_{l=1}^{M} C(K−l, L) (1 − αh)^{l−1} + (1 − αh)^M Σ_{l=L+1}^{K−M} C(K−M, l) c^l

    The paper asks for M < min(L, K − L), and plots L = 1 and 4, 5 at M = 1, K = 5 all the same. What the proofs need is
    M ≤ L for Truncated and M ≤ K for the others. When it is wrong: FirstOrder holds for Hessians that commute, as in
    theorem 3.8; `error_bound(FirstOrder(), CurvatureRange.finally_convex(...))` holds for all.

    Args:
        estimator: FirstOrder, Truncated or plain Binomial; L ≥ K is exact, 0.
        num_steps: K, at least 0.
        curvature: c = αH, above 0, at most 1.
        smallest: αh, above 0, at most c.
        convex_steps: M, from 0 to K.

    Raises:
        TypeError: the theorem does not speak of this estimator.
        ValueError: a number out of range, M > L with Truncated, or a scaled or centred Binomial.

    Example:
        >>> f"{theorem_3_10(Truncated(window=2), 5, curvature=0.1, smallest=0.05, convex_steps=1):.4f}"
        '0.3459'
    """
    kept = _kept(estimator, num_steps)
    _within_one(curvature, "theorem_3_10", "CurvatureRange.finally_convex(...)")
    checks.number("smallest (alpha·h)", smallest, above=0)
    if smallest > curvature:
        raise ValueError(f"smallest (alpha·h) must be at most curvature (alpha·H) = {curvature:g}, got {smallest:g}")
    checks.integer("convex_steps", convex_steps, least=0, most=num_steps)
    early, shrunk = num_steps - convex_steps, (1.0 - smallest) ** convex_steps

    if isinstance(estimator, Binomial):
        late = sum(math.comb(num_steps - i, kept) * (1.0 - smallest) ** (i - 1) for i in range(1, convex_steps + 1))
        return curvature ** (kept + 1) * late + shrunk * _binomial_tail(early, kept, curvature)
    growth = math.log1p(curvature)
    if isinstance(estimator, Truncated):
        if kept < convex_steps:
            raise ValueError(
                f"theorem_3_10 holds for Truncated with a window of at least convex_steps = {convex_steps}, "
                f"got {estimator!r}; use error_bound with CurvatureRange.finally_convex(...)"
            )
        return (1.0 + curvature) ** (kept - convex_steps) * math.expm1((num_steps - kept) * growth) * shrunk
    largest = math.expm1(early * growth + _log_power(-smallest, convex_steps))
    return max(largest, -math.expm1(_log_power(-curvature, num_steps)))


def _kept(estimator: Pullback, num_steps: int) -> int:
    """L, of which a theorem speaks, at most K."""
    checks.integer("num_steps", num_steps, least=0)
    match estimator:
        case FirstOrder():
            return 0
        case Truncated(window=window):
            return min(window, num_steps)
        case Binomial(order=order, scale=1.0, center=0.0):
            return min(order, num_steps)
        case Binomial():
            raise ValueError(f"the paper's theorems are about scale=1 and center=0, got {estimator!r}; use error_bound")
        case _:
            raise TypeError(
                f"the paper's theorems are about FirstOrder, Truncated and Binomial, got {estimator!r}; use error_bound"
            )


def _within_one(curvature: float, theorem: str, way_out: str) -> None:
    checks.number("curvature (alpha·H)", curvature, above=0)
    if curvature > 1:
        raise ValueError(
            f"{theorem} needs alpha·H in (0, 1], got {curvature:g}; lower the inner learning rate, "
            f"or use error_bound with {way_out}, which has no such limit"
        )


def _binomial_tail(num_steps: int, order: int, curvature: float) -> float:
    """Σ_{l > order} C(num_steps, l)·curvature^l: summed as it stands, since a difference of powers would cancel."""
    return math.fsum(math.comb(num_steps, i) * curvature**i for i in range(order + 1, num_steps + 1))


def _log_power(minus: float, power: int) -> float:
    """power·log(1 + minus), with 0·(−∞) = 0."""
    if power == 0:
        return 0.0
    return power * math.log1p(minus) if minus > -1.0 else -math.inf
