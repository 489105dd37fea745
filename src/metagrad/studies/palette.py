"""One colour for each family of estimators, in every figure."""

from collections.abc import Mapping

COLORS: Mapping[str, str] = {
    "FirstOrder": "0.45",
    "Reptile": "#8a6bb1",
    "Implicit": "#4d9a5b",
    "UnanchoredImplicit": "#4d9a5b",
    "Truncated": "#d1822f",
    "Binomial": "#2b6ca3",
    "Hybrid": "#2a9d9d",
    "Split": "#2a9d9d",
    "FiniteDifference": "#b3508a",
    "Exact": "black",
}
"""By the name of the estimator's class."""
