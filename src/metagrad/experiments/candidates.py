"""Estimators that a comparison has a row for, and the number that tells those of one class apart."""

from metagrad.estimators import (
    Binomial,
    Estimator,
    Exact,
    FiniteDifference,
    FirstOrder,
    Grouped,
    Hybrid,
    Implicit,
    Parallel,
    Reptile,
    Truncated,
)

_SIZES = ("order", "rounds", "groups", "window")


def candidates(num_steps: int) -> list[Estimator]:
    """Every estimator worth a row for a loop of `num_steps` steps, cheapest families first."""
    between = range(1, num_steps)
    return [
        FirstOrder(),
        Reptile(),
        *(Truncated(window=window) for window in between),
        *(Binomial(order=order) for order in between),
        *(Binomial(order=order, scale="paper") for order in between),
        *(Binomial(order=order, center="auto") for order in between),
        *(Hybrid(window=num_steps - 1, order=order) for order in range(1, num_steps - 1)),
        *(Grouped(groups=groups) for groups in between[1:]),
        *(Parallel(rounds=rounds) for rounds in between[1:]),
        Exact(),
        Implicit(),
        FiniteDifference(),
    ]


def size(estimator: Estimator) -> int | None:
    """Its order, rounds, groups or window, the first that it has; None where it has none of these."""
    return next((getattr(estimator, name) for name in _SIZES if hasattr(estimator, name)), None)
