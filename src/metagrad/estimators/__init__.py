"""Estimators of the meta-gradient: strategies for pulling the outer gradient back through a chain of links."""

from metagrad.estimators.base import Adjoint, Chain, Cost, Episode, Estimate, Estimator, Pulled
from metagrad.estimators.binomial import Binomial
from metagrad.estimators.exact import Exact, FirstOrder
from metagrad.estimators.finite_difference import FiniteDifference
from metagrad.estimators.implicit import ConjugateGradient, Implicit, Neumann
from metagrad.estimators.reptile import Reptile
from metagrad.estimators.split import Hybrid, Split, Truncated

__all__ = [
    "Adjoint",
    "Binomial",
    "Chain",
    "ConjugateGradient",
    "Cost",
    "Episode",
    "Estimate",
    "Estimator",
    "Exact",
    "FiniteDifference",
    "FirstOrder",
    "Hybrid",
    "Implicit",
    "Neumann",
    "Pulled",
    "Reptile",
    "Split",
    "Truncated",
]
