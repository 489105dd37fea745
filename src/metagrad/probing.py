"""How far estimators are from the exact meta-gradient, measured on one task."""

import itertools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metagrad import tree
from metagrad.estimators.base import Episode, Estimate, Estimator
from metagrad.estimators.exact import Exact
from metagrad.inner.episode import TaskEpisode
from metagrad.inner.loop import InnerLoop
from metagrad.prepared import Prepared
from metagrad.task import Task
from metagrad.tree import Tree


@dataclass(frozen=True)
class Probe:
    """One estimator measured on one task.

    Attributes:
        error: ‖estimate − exact‖ / ‖exact‖ over all meta-parameters; NaN or infinite where one of them is.
        error_estimate: what the estimator says of its error itself; None where it says nothing.
    """

    error: float
    error_estimate: float | None


class TaskProbe:
    """One task with its exact meta-gradient, against which estimators are held.

        error = ‖estimate − exact‖ / ‖exact‖

    Everything is evaluated as written, one curvature product at a time, and nothing is changed: no `.grad`, no
    generator, no compiled graph.

    Cost: the inner loop and the outer gradient once, K products for the exact one, those of each estimator measured.
    Memory: the trajectory of one task, one product, two meta-gradients.
    """

    def __init__(self, loop: InnerLoop, meta: Tree, task: Task) -> None:
        """`task` has leaves [N, ...] without a task axis; `meta` is read as values."""
        with torch.inference_mode(False), torch.no_grad():
            alone = replace(loop, link_chunk=1, reuse=0)
            self._episode: Episode = TaskEpisode(alone, tree.detach(meta), task)
            self._exact = Exact().estimate(self._episode).gradient
            self._size = tree.norm(self._exact)

    def measure(self, estimator: Estimator) -> Probe:
        """The error of `estimator` on this task, by the same trajectory and outer gradient."""
        if estimator == Exact():
            return Probe(0.0, None)
        gap, own = self.gap(estimator)
        return Probe((gap / self._size).item(), None if own is None else own.item())

    def gap(self, estimator: Estimator) -> tuple[Tensor, Tensor | None]:
        """(‖estimate − exact‖, the estimator's own estimate of its relative error), 0-d."""
        with torch.inference_mode(False), torch.no_grad():
            estimate: Estimate = estimator.estimate(self._episode)
            difference = tree.norm(tree.subtract(estimate.gradient, self._exact))
        return difference, estimate.diagnostics.get("error_estimate")


def first_tasks(tasks: Prepared, count: int) -> list[Task]:
    """The first `count` tasks, or all if there are fewer, with leaves [N, ...]; groups of equal shapes one by one."""
    alone = (group.take(t) for _, group in tasks.groups for t in range(group.count))
    return list(itertools.islice(alone, count))
