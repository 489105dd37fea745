"""Meta-training: the loop, held-out evaluation, and the run directory that survives being killed."""

from metagrad.training.evaluation import HeldOut, Interval, evaluate, fixed_tasks, interval, paired
from metagrad.training.plan import Plan
from metagrad.training.progress import Bar, Lines, Reporter, Silent
from metagrad.training.run import Run
from metagrad.training.run_writer import RunWriter
from metagrad.training.trainer import Diverged, Trainer

__all__ = [
    "Bar",
    "Diverged",
    "HeldOut",
    "Interval",
    "Lines",
    "Plan",
    "Reporter",
    "Run",
    "RunWriter",
    "Silent",
    "Trainer",
    "evaluate",
    "fixed_tasks",
    "interval",
    "paired",
]
