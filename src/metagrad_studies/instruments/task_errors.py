"""Meta-gradients of many estimators on the same tasks, compared with the exact ones in float64."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from metagrad import tree
from metagrad.batching import branch, over_tasks
from metagrad.estimators import Estimator, Exact
from metagrad.estimators.base import Episode
from metagrad.estimators.split import ERROR
from metagrad.inner.episode import TaskEpisode
from metagrad.inner.loop import InnerLoop
from metagrad.task import Task
from metagrad.tree import Tree
from metagrad_studies.instruments.remembered import Remembered
from metagrad_studies.instruments.spectra import Extremes, direction, extremes


@dataclass(frozen=True)
class Estimates:
    """T meta-gradients of n numbers each: `exact` [T, n], those of other estimators, and ‖outer gradient‖ [T]."""

    exact: Tensor
    others: Mapping[Any, Tensor]
    outer_norm: Tensor


def estimates(loop: InnerLoop, estimators: Sequence[Estimator], meta: Tree, tasks: Task, chunk: int) -> Estimates:
    """Every estimator on every task, along one trajectory a task; `chunk` tasks side by side.

    Cost: a task's inner loop and outer gradient once, and the products of all estimators; with a chunk of 1 those that
    several ask for once. Memory: all meta-gradients.
    """
    asked = [Exact(), *estimators]

    def of_task(meta: Tree, task: Task) -> Tree:
        episode = _episode(loop, meta, task, chunk)
        found = [tree.flat(_ordered(one.estimate(episode).gradient, meta)) for one in asked]
        return {
            "found": {str(i): gradient for i, gradient in enumerate(found)},
            "norm": tree.norm(episode.outer()[0]),
        }

    result = over_tasks(of_task, meta, tasks, chunk)
    exact, *others = tree.leaves(branch(result, "found"))
    return Estimates(exact, dict(zip(estimators, others, strict=True)), cast(Tensor, branch(result, "norm")))


class Errors(NamedTuple):
    """One estimator on T tasks.

    Attributes:
        measured: ‖estimate − exact‖ / ‖exact‖, [T]; NaN where the exact one is not finite, infinite where only the
            estimate is not.
        own: what the estimator says of that itself, [T]; None if nothing.
    """

    measured: Tensor
    own: Tensor | None


def task_errors(loop: InnerLoop, estimators: Sequence[Estimator], meta: Tree, tasks: Task, chunk: int) -> list[Errors]:
    """Every estimator on every task, as `estimates`, but of each meta-gradient its error alone is kept.

    Cost: as `estimates`, the exact meta-gradient once a task. Memory: two meta-gradients of each task of a chunk, and
    with a chunk of 1 all products of a task.
    """

    def of_task(meta: Tree, task: Task) -> Tree:
        episode = _episode(loop, meta, task, chunk)
        exact = Exact().estimate(episode).gradient
        size = tree.norm(exact)
        found: dict[str, Tree] = {}
        for number, estimator in enumerate(estimators):
            estimate = estimator.estimate(episode)
            error = tree.norm(tree.subtract(estimate.gradient, exact)) / size
            overflow = torch.where(size.isfinite(), torch.inf, torch.nan)
            found[f"{number} measured"] = torch.where(error.isfinite(), error, overflow)
            if ERROR in estimate.diagnostics:
                found[f"{number} own"] = estimate.diagnostics[ERROR]
        return found

    found = cast(dict[str, Tensor], over_tasks(of_task, meta, tasks, chunk))
    return [Errors(found[f"{number} measured"], found.get(f"{number} own")) for number in range(len(estimators))]


def curvatures(loop: InnerLoop, meta: Tree, tasks: Task, *, iterations: int, seed: int, chunk: int) -> Extremes:
    """Extreme eigenvalues of α·H at every link of every task, [T, K] each.

    Args:
        loop: whole model, plain SGD.
        meta: the meta-parameters.
        tasks: leaves [T, N, ...].
        iterations: of Lanczos, a curvature product with each link.
        seed: of the first direction.
        chunk: tasks side by side.
    """
    first = direction(loop.learner.start(meta), seed)

    def of_task(meta: Tree, task: Task) -> Tree:
        return {**extremes(TaskEpisode(loop, meta, task).chain, first, iterations)._asdict()}

    found = over_tasks(of_task, meta, tasks, chunk)
    return Extremes(*(cast(Tensor, branch(found, name)) for name in Extremes._fields))


def of_batches(values: Tensor, tasks: int) -> Tensor:
    """Mean over the tasks of every mini-batch: [B·tasks, ...] to [B, ...]."""
    return values.unflatten(0, (-1, tasks)).mean(dim=1)


def relative(estimate: Tensor, exact: Tensor) -> Tensor:
    """‖estimate − exact‖ / ‖exact‖ of every row."""
    return (estimate - exact).norm(dim=-1) / exact.norm(dim=-1)


def _episode(loop: InnerLoop, meta: Tree, task: Task, chunk: int) -> Episode:
    """A task that is alone has values to compare, and products are remembered."""
    episode = TaskEpisode(loop, meta, task)
    return Remembered(episode) if chunk == 1 else episode


def _ordered(gradient: Tree, meta: Tree) -> Tree:
    """In the order of the meta-parameters, whatever the order in which an estimator met them."""
    return tree.map(lambda _, leaf: leaf, meta, gradient)
