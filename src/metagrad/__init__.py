"""Meta-gradients for PyTorch: the gradient of the loss after adaptation with respect to where it started."""

from metagrad import (
    batching,
    capture,
    choosing,
    estimators,
    functional,
    inner,
    learner,
    networks,
    optim,
    rules,
    task,
    tasks,
    tree,
)
from metagrad.batching import MetaGradient, meta_gradient
from metagrad.choosing import Auto
from metagrad.estimators import (
    Binomial,
    Exact,
    FiniteDifference,
    FirstOrder,
    Grouped,
    Hybrid,
    Implicit,
    Parallel,
    Reptile,
    Split,
    Truncated,
)
from metagrad.inner.learners import PartOfModel, Proximal, WholeModel
from metagrad.inner.loop import InnerLoop
from metagrad.inner.trajectory import Logarithmic, Slots, SquareRoot, Stored
from metagrad.learner import MetaLearner
from metagrad.rules import SGD, Adam, AdamW, Clipped, Learned, RMSprop, Transform, UpdateRule
from metagrad.task import Batch, Steps, Task

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Auto",
    "Batch",
    "Binomial",
    "Clipped",
    "Exact",
    "FiniteDifference",
    "FirstOrder",
    "Grouped",
    "Hybrid",
    "Implicit",
    "InnerLoop",
    "Learned",
    "Logarithmic",
    "MetaGradient",
    "MetaLearner",
    "Parallel",
    "PartOfModel",
    "Proximal",
    "RMSprop",
    "Reptile",
    "Slots",
    "Split",
    "SquareRoot",
    "Steps",
    "Stored",
    "Task",
    "Transform",
    "Truncated",
    "UpdateRule",
    "WholeModel",
    "batching",
    "capture",
    "choosing",
    "estimators",
    "functional",
    "inner",
    "learner",
    "meta_gradient",
    "networks",
    "optim",
    "rules",
    "task",
    "tasks",
    "tree",
]
