"""Meta-gradients over many tasks: side by side, a few at a time, or one by one."""

from metagrad.batching.chunks import SideBySide, branch, over_tasks
from metagrad.batching.execution import RANDOM, Eager, Execution, OfTask
from metagrad.batching.mean import MetaGradient, SummedGradient, TaskMetaGradient, meta_gradient

__all__ = [
    "RANDOM",
    "Eager",
    "Execution",
    "MetaGradient",
    "OfTask",
    "SideBySide",
    "SummedGradient",
    "TaskMetaGradient",
    "branch",
    "meta_gradient",
    "over_tasks",
]
