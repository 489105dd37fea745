"""What a task is, and where tasks come from.

Axis legend, used everywhere: T tasks, N examples of one task, then the features of one example.
Sources give leaves of shape [T, N, ...]; inside an episode one task has leaves [N, ...].
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Examples of one or of several tasks.

    Shapes: `inputs` [N, ...] and `targets` [N, ...] for one task; [T, N, ...] for T tasks.
    """

    inputs: Tensor
    targets: Tensor


class Task(NamedTuple):
    """One or several tasks: adaptation sees `support`, the loss after adaptation is measured on `query`."""

    support: Batch
    query: Batch


def map_leaves(fn: Callable[[Tensor], Tensor], task: Task) -> Task:
    """Apply `fn` to the inputs and the targets of the support and of the query set."""
    return Task(*(Batch(*(fn(leaf) for leaf in part)) for part in task))


class TaskSource(Protocol):
    """A distribution of tasks."""

    def sample(self, count: int, generator: torch.Generator) -> Task:
        """Draw `count` tasks; every leaf is [count, N, ...] and depends on the generator's state alone."""
        ...
