"""Update rules: how one inner step moves the adapted parameters."""

from metagrad.rules.adam import Adam, AdamW
from metagrad.rules.base import State, UpdateRule
from metagrad.rules.clipped import Clipped
from metagrad.rules.rmsprop import RMSprop
from metagrad.rules.settings import Learned, Schedule, Setting
from metagrad.rules.sgd import SGD
from metagrad.rules.transform import Transform

__all__ = [
    "SGD",
    "USUAL",
    "Adam",
    "AdamW",
    "Clipped",
    "Learned",
    "RMSprop",
    "Schedule",
    "Setting",
    "State",
    "Transform",
    "UpdateRule",
]

USUAL: tuple[UpdateRule, ...] = (SGD(), Adam(), AdamW(), RMSprop(), Clipped(SGD()))
"""The rules that can be typed at the command line, each as its name alone gives it."""
