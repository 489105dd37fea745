"""Nothing is timed before everybody computes the same thing.

The reference is the plain loop in float64. In float64 all must agree with it to `FLOAT64`: what remains is the order of
summation. In float32 they differ by rounding, which K steps amplify: the bounds below are for the problems as they are
at K = 5 and grow in proportion to K.
"""

from collections.abc import Mapping

import numpy as np

from benchmarks.problems import Array, Problem
from benchmarks.workers import BenchmarkError

FLOAT64 = 1e-5
# Measured at K = 5 over seeds: 2e-7, 4e-7 and 3e-4; rounding moves a few of the choices of max-pooling.
FLOAT32 = {"sinusoid": 1e-5, "conv28": 1e-5, "conv84": 1e-3}


def float32_bound(problem: Problem) -> float:
    """The largest relative error that counts as float32 rounding."""
    return FLOAT32[problem.name] * max(1.0, problem.steps / 5)


def relative_error(gradient: Array, reference: Array) -> float:
    """‖gradient − reference‖ / ‖reference‖ of whole vectors; infinite where they cannot be compared."""
    size = float(np.linalg.norm(reference))
    if gradient.shape != reference.shape or not np.isfinite(gradient).all() or not 0 < size < np.inf:
        return float("inf")
    return float(np.linalg.norm(gradient - reference)) / size


def require(errors: Mapping[str, float], bound: float, what: str) -> None:
    """Refuse to go on unless every error is within the bound.

    Raises:
        BenchmarkError: names who is how far off.
    """
    off = {label: error for label, error in errors.items() if not error <= bound}
    if off:
        who = ", ".join(f"{label} by {error:.1e}" for label, error in off.items())
        raise BenchmarkError(
            f"meta-gradients disagree with the plain loop in float64 on {what}: {who} (at most {bound:.0e}), so "
            "nothing was timed"
        )
