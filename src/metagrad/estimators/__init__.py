"""Estimators of the meta-gradient: strategies for pulling the outer gradient back through a chain of links."""

from metagrad.estimators.base import Adjoint, Chain, Cost, Episode, Estimate, Estimator, Pulled
from metagrad.estimators.binomial import Binomial
from metagrad.estimators.bounds import error_bound
from metagrad.estimators.curvature_range import CurvatureRange
from metagrad.estimators.exact import Exact, FirstOrder
from metagrad.estimators.families import register
from metagrad.estimators.family import Family
from metagrad.estimators.finite_difference import FiniteDifference
from metagrad.estimators.grouped import Grouped
from metagrad.estimators.implicit import ConjugateGradient, Implicit, Neumann
from metagrad.estimators.parallel import Parallel
from metagrad.estimators.reptile import Reptile
from metagrad.estimators.split import Hybrid, Split, Truncated
from metagrad.estimators.theorems import theorem_3_6, theorem_3_8, theorem_3_10
from metagrad.estimators.unanchored import UnanchoredImplicit

__all__ = [
    "Adjoint",
    "Binomial",
    "Chain",
    "ConjugateGradient",
    "Cost",
    "CurvatureRange",
    "Episode",
    "Estimate",
    "Estimator",
    "Exact",
    "Family",
    "FiniteDifference",
    "FirstOrder",
    "Grouped",
    "Hybrid",
    "Implicit",
    "Neumann",
    "Parallel",
    "Pulled",
    "Reptile",
    "Split",
    "Truncated",
    "UnanchoredImplicit",
    "error_bound",
    "register",
    "theorem_3_6",
    "theorem_3_8",
    "theorem_3_10",
]
