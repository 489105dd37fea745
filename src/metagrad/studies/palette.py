"""Colours of the estimators, the same in every figure."""

from collections.abc import Mapping

FAMILIES: Mapping[str, str] = {"FirstOrder": "0.45", "Truncated": "#d1822f", "Binomial": "#2b6ca3"}
