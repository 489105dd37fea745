"""Choosing the estimator from what is measured on the tasks at hand: `Auto` says what is wanted, `Chooser` does it."""

from metagrad.choosing.auto import LOOKS, Auto, Decision, decide
from metagrad.choosing.chooser import Chooser
from metagrad.estimators.families import candidates

__all__ = ["LOOKS", "Auto", "Chooser", "Decision", "candidates", "decide"]
