"""Meta-gradients for PyTorch: the gradient of the loss after adaptation with respect to where it started."""

from metagrad import batching, capture, choosing, estimators, functional, inner, learner, networks, optim, tasks, tree
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
from metagrad.inner.rules import SGD, LearnedRates, Momentum
from metagrad.inner.trajectory import Logarithmic, Slots, SquareRoot, Stored
from metagrad.learner import MetaLearner
from metagrad.tasks.task import Batch, Task

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Auto",
    "Batch",
    "Binomial",
    "Exact",
    "FiniteDifference",
    "FirstOrder",
    "Grouped",
    "Hybrid",
    "Implicit",
    "InnerLoop",
    "LearnedRates",
    "Logarithmic",
    "MetaGradient",
    "MetaLearner",
    "Momentum",
    "Parallel",
    "PartOfModel",
    "Proximal",
    "Reptile",
    "Slots",
    "Split",
    "SquareRoot",
    "Stored",
    "Task",
    "Truncated",
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
    "tasks",
    "tree",
]
