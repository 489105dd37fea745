"""Functions of one task at many: side by side, a few at a time, or one by one."""

from metagrad.batching.chunks import Chunk, OfTask, branch, over_tasks
from metagrad.batching.execution import Eager, Execution, Job, evaluated
from metagrad.batching.mean import MetaGradient, meta_gradient

__all__ = [
    "Chunk",
    "Eager",
    "Execution",
    "Job",
    "MetaGradient",
    "OfTask",
    "branch",
    "evaluated",
    "meta_gradient",
    "over_tasks",
]
