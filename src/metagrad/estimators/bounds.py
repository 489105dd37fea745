"""Upper bounds on the error of a meta-gradient, from what is known of the curvature along the inner loop.

They hold for a chain whose direct maps are the identity and whose meta-parameters are its start (plain SGD on the whole
model): link k is I − E_k, with E_k = α·H_k. Errors are relative to the norm of the outer gradient g.
Statements and proofs: docs/explanation/derivation-bounds.md.
"""

import math
from collections.abc import Sequence

from metagrad.estimators.base import Pullback
from metagrad.estimators.binomial import Binomial
from metagrad.estimators.curvature_range import CurvatureRange
from metagrad.estimators.discs import farthest_product
from metagrad.estimators.exact import Exact, FirstOrder
from metagrad.estimators.split import Hybrid, Split, Truncated


def error_bound(estimator: Pullback, curvature: CurvatureRange) -> float:
    """How far an estimate can be from the exact meta-gradient: ‖estimate − exact‖ ≤ error_bound · ‖g‖.

        Binomial, ‖E_k‖ ≤ c_k:                          Σ_{l > L} e_l(c)            e_l: elementary symmetric polynomial
        Binomial, 0 ≤ E_k ≤ c_k ≤ 2:                    at most e_{L+1}(c)
        Binomial(center=s), low = s − r, high = s + r:  Σ_{l > L} C(K, l) r^l |1 − s|^{K − l}
        Truncated(L):                                   sup ‖I − ∏_{k < K−L} (I − E_k)‖ · ∏_{k ≥ K−L} ‖I − E_k‖

    `scale` adds what the scaled product differs by; `Split` and `Hybrid` add up their parts. With one range for all
    links these are theorem 3.6 (attained), 3.8 and 3.10, or less, except where 3.8 and 3.10 are false as printed
    (`FirstOrder`, and `Truncated` in 3.8, with Hessians that do not commute): there it is the correct value.

    Args:
        estimator: any of FirstOrder, Exact, Truncated, Binomial, Hybrid, or a Split of them.
        curvature: ranges of the K curvature factors.

    Cost: some K² floating-point operations, and some 16 K² complex ones for first-order parts. No tensor is touched.
    When it is wrong: for rules with state, learned rates, and what losses read of the meta-parameters beside the
    start, it bounds another quantity (docs/explanation/derivation-theorems.md, section 7). It is for one task: for
    a mean over tasks, take the mean of bound·‖g‖. Source: theorems 3.6, 3.8 and 3.10 of the binomial paper,
    generalised in docs/explanation/derivation-bounds.md.

    Raises:
        TypeError: `estimator` is not one that pulls back through a chain by products alone, or has center "auto".

    Example:
        >>> steps = CurvatureRange.convex([0.1] * 5)  # 0 ≤ α·H ≤ 0.1 at each of five steps
        >>> f"{error_bound(FirstOrder(), steps):.3f} {error_bound(Binomial(order=2), steps):.3f}"
        '0.410 0.010'
    """
    match estimator:
        case Exact():
            return 0.0
        case FirstOrder():
            return _binomial_bound(Binomial(0), curvature)
        case Binomial():
            return _binomial_bound(estimator, curvature)
        case Truncated(window=window):
            return error_bound(Split(window, Exact(), FirstOrder()), curvature)
        case Hybrid(window=window, order=order):
            return error_bound(Split(window, Binomial(order), FirstOrder()), curvature)
        case Split(late=late, early=early):
            before, after = _parts(estimator, curvature)
            # Q̂P̂ − QP = (Q̂ − Q)P + Q̂(P̂ − P), with Q the early product and P the late one.
            return error_bound(early, before) * _exact_norm(after) + _norm(early, before) * error_bound(late, after)
        case _:
            raise TypeError(
                "error_bound knows FirstOrder, Exact, Truncated, Binomial, Hybrid and Split of them, "
                f"got {estimator!r}; measure its error against Exact()"
            )


def _parts(split: Split, curvature: CurvatureRange) -> tuple[CurvatureRange, CurvatureRange]:
    joint = len(curvature) - min(split.window, len(curvature))
    return curvature.window(0, joint), curvature.window(joint, len(curvature))


def _exact_norm(curvature: CurvatureRange) -> float:
    """The largest ‖∏ (I − E_k)‖."""
    return math.prod(curvature.farthest_from(1.0))


def _norm(estimator: Pullback, curvature: CurvatureRange) -> float:
    """An upper bound on the norm of the estimator as a map."""
    match estimator:
        case FirstOrder():
            return 1.0
        case Truncated(window=window):
            return _norm(Split(window, Exact(), FirstOrder()), curvature)
        case Hybrid(window=window, order=order):
            return _norm(Split(window, Binomial(order), FirstOrder()), curvature)
        case Split(late=late, early=early):
            before, after = _parts(estimator, curvature)
            return _norm(early, before) * _norm(late, after)
        case Binomial():
            order, scale, center = _settings(estimator, len(curvature))
            moved = curvature.farthest_from(center, scale)
            kept = sum(_by_factors(moved, abs(1.0 - center))[: order + 1])
            return min(kept, _exact_norm(curvature) + _binomial_bound(estimator, curvature))
        case _:
            return _exact_norm(curvature)


def _settings(estimator: Binomial, steps: int) -> tuple[int, float, float]:
    """Order, scale and center as numbers."""
    if estimator.center == "auto":
        raise TypeError(
            f"error_bound knows no bound for {estimator!r}, whose center depends on the task; "
            'its diagnostics hold an "error_estimate"'
        )
    order = min(estimator.order, steps)
    scale = order / max(steps, 1) if estimator.scale == "paper" else float(estimator.scale)
    return order, scale, float(estimator.center)


def _by_factors(sizes: Sequence[float], rest: float) -> list[float]:
    """Coefficients of ∏_k (rest + size_k·x): entry l sums the terms with l sizes, e_l(sizes)·rest^{K − l}."""
    sums = [1.0]
    for size in sizes:
        sums = [rest * same + size * below for same, below in zip([*sums, 0.0], [0.0, *sums], strict=True)]
    return sums


def _binomial_bound(estimator: Binomial, curvature: CurvatureRange) -> float:
    """The least of the bounds that apply; each holds on its own, so the order of the estimator decides nothing else."""
    order, scale, center = _settings(estimator, len(curvature))
    bounds = [
        _link_by_link(curvature, order, scale, center),
        _about_the_middle(curvature, order, scale, center),
    ]
    if order == 0:
        bounds.append(farthest_product(curvature.low, curvature.high, center))
    # An infinite product times a zero is not a number.
    return min((bound for bound in bounds if not math.isnan(bound)), default=math.inf)


def _link_by_link(curvature: CurvatureRange, order: int, scale: float, center: float) -> float:
    """Error of the first k links, for k = 1 … K, from that of the first k − 1.

    With A = (1 − s)·I, B = s·I − t·E and T_L the terms with exactly L factors B, what is cut obeys
        R_k = T_L(k − 1)·B + R_{k−1}·(I − t·E) + (1 − t)·P_{k−1}·E,
    so that only sums of positive numbers occur, however small the error is.
    """
    moved, links = curvature.farthest_from(center, scale), curvature.farthest_from(1.0, scale)
    exact_links, norms = curvature.farthest_from(1.0), curvature.farthest_from(0.0)
    error, exact = 0.0, 1.0
    exactly = [1.0] + [0.0] * order
    for k in range(len(curvature)):
        error = links[k] * error + moved[k] * exactly[order] + abs(1.0 - scale) * exact * norms[k]
        exact *= exact_links[k]
        below = [0.0, *exactly]
        exactly = [abs(1.0 - center) * same + moved[k] * less for same, less in zip(exactly, below, strict=False)]
    return error


def _about_the_middle(curvature: CurvatureRange, order: int, scale: float, center: float) -> float:
    """Estimate and exact product, both written in words of E_k − m·I, and subtracted word by word.

        Σ_j e_j(r) · |t^j·w_j − (1 − m)^{K−j}|,   w_j = Σ_{i ≤ L−j} C(K−j, i) (s − t·m)^i (1 − s)^{K−j−i}

    Holds for any m that is the same for all links, with r_k = ‖E_k − m·I‖; m is the middle of all ranges. It is smaller
    than the other bound where the plain expansion overshoots, because there the terms that are cut alternate.
    """
    steps = len(curvature)
    middle = (min(curvature.low, default=0.0) + max(curvature.high, default=0.0)) / 2
    words = _by_factors(curvature.farthest_from(middle), 1.0)
    try:
        return sum(word * abs(_missing(j, steps, order, scale, center, middle)) for j, word in enumerate(words))
    except (OverflowError, ValueError):
        return math.inf


def _missing(j: int, steps: int, order: int, scale: float, center: float, middle: float) -> float:
    """(1 − m)^{K−j} − t^j·w_j."""
    rest, kept = steps - j, max(order - j + 1, 0)
    terms = [
        math.comb(rest, i) * (center - scale * middle) ** i * (1.0 - center) ** (rest - i) for i in range(rest + 1)
    ]
    # All terms together are (1 − t·m)^{K−j}. What the estimate lacks of them is their tail; where the tail alternates
    # between large numbers it is the total less the head.
    total = (1.0 - scale * middle) ** rest
    head, tail = terms[:kept], terms[kept:]
    if sum(map(abs, tail)) <= sum(map(abs, head)) + abs(total):
        lacking = math.fsum(tail)
    else:
        lacking = total - math.fsum(head)
    return (1.0 - middle) ** rest - scale**j * total + scale**j * lacking
