"""How far a product of matrices near multiples of the identity can be from a multiple of the identity."""

import cmath
import math
from collections.abc import Callable, Sequence


def farthest_product(low: Sequence[float], high: Sequence[float], center: float = 0.0) -> float:
    """The largest ‖(1 − s)^K·I − ∏_k (I − E_k)‖ over all E_k with low_k·I ≤ E_k ≤ high_k·I; s is the center.

        = max over z_k of |(1 − s)^K − ∏_k z_k|,   z_k complex, |z_k − a_k| ≤ r_k

    with a_k = 1 − ½(low_k + high_k) and r_k = ½(high_k − low_k), if high_k ≤ 1 for all k: matrices that do not
    commute can turn a vector, in a plane, as a complex number does. Symmetric matrices of two dimensions attain it.
    If some high_k is above 1, an upper bound: |1 − s|^K and the largest ∏|z_k| added.

    Cost: 16 K + 64 evaluations of a product of K complex numbers. A maximum on a line, found to rounding.
    Source: docs/explanation/derivation-truncation.md, section 3.
    """
    middles = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    radii = [(b - a) / 2 for a, b in zip(low, high, strict=True)]
    if any(top > 1.0 for top in high):
        largest = math.prod(abs(1.0 - middle) + radius for middle, radius in zip(middles, radii, strict=True))
        return abs(1.0 - center) ** len(middles) + largest

    def distance(direction: float) -> float:
        """At the point of every disc whose logarithm lies farthest in one direction of the plane."""
        # |kept − product| without their cancellation: difference' = z·difference + (1 − s − z)·kept.
        difference, kept = 0j, 1.0
        for middle, radius in zip(middles, radii, strict=True):
            ratio = min(radius / (1.0 - middle), 1.0) if middle < 1.0 else 0.0
            offset = radius * cmath.exp(1j * (direction + math.asin(ratio * math.sin(direction))))
            difference = (1.0 - middle + offset) * difference + (middle - center - offset) * kept
            kept *= 1.0 - center
        return abs(difference)

    # log z runs over a convex set for each disc, so the boundary of their sum is a curve: one direction, one point.
    points = 16 * len(middles) + 64
    directions = [math.pi * i / points for i in range(points + 1)]
    distances = [distance(direction) for direction in directions]
    peak = max(range(points + 1), key=distances.__getitem__)
    refined = _golden_maximum(distance, directions[max(peak - 1, 0)], directions[min(peak + 1, points)])
    return max(distances[peak], refined)


def _golden_maximum(function: Callable[[float], float], left: float, right: float) -> float:
    """The largest value met by golden-section search; near a smooth maximum, right to rounding."""
    shrink = (math.sqrt(5.0) - 1.0) / 2
    largest = 0.0
    for _ in range(45):
        inner_left, inner_right = right - shrink * (right - left), left + shrink * (right - left)
        at_left, at_right = function(inner_left), function(inner_right)
        largest = max(largest, at_left, at_right)
        if at_left > at_right:
            right = inner_right
        else:
            left = inner_left
    return largest
