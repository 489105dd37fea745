"""A function of one task at many: side by side under `vmap`, a few at a time, or one by one."""

from dataclasses import dataclass
from typing import cast

import torch
from torch.func import vmap

from metagrad import checks, tree
from metagrad.batching.execution import Eager, Execution, OfTask
from metagrad.tasks.prepared import Tasks, prepare
from metagrad.tasks.task import Task, map_leaves
from metagrad.tree import Tree


@dataclass(frozen=True)
class SideBySide:
    """A function of one task as one of several, [t, N, ...] in and [t, ...] out: vmapped, or as it is for one task."""

    of_task: OfTask

    def __call__(self, meta: Tree, tasks: Task) -> Tree:
        """Evaluate at every task."""
        if len(tasks.support.inputs) == 1:
            alone = self.of_task(meta, _take(tasks, 0))
            return tree.map(lambda leaf: leaf.unsqueeze(0), alone)
        return vmap(self.of_task, in_dims=(None, 0))(meta, tasks)


def over_tasks(fn: OfTask, meta: Tree, tasks: Tasks, task_chunk: int | None) -> Tree:
    """Apply a function of (meta-parameters, one task) to every task.

    Args:
        fn: pure; its result is a tree.
        meta: the meta-parameters.
        tasks: as for `meta_gradient`.
        task_chunk: as for `meta_gradient`.

    Returns:
        The results stacked along a task axis in the order of `tasks`.

    Raises:
        ValueError: as `meta_gradient`.
        TypeError: as `meta_gradient`.
    """
    with torch.inference_mode(False):
        return joined(*in_chunks(SideBySide(fn), meta, tasks, task_chunk, Eager()))


def in_chunks(
    fn: OfTask, meta: Tree, tasks: Tasks, task_chunk: int | None, execution: Execution
) -> tuple[list[Tree], list[int]]:
    """Evaluate a function of tasks [t, N, ...] on a few at a time.

    Args:
        fn: pure; its result is a tree.
        meta: the meta-parameters.
        tasks: as for `meta_gradient`.
        task_chunk: as for `meta_gradient`.
        execution: how each chunk is evaluated.

    Returns:
        The result of each chunk, and the positions of their tasks one after another.

    Raises:
        ValueError: as `meta_gradient`.
        TypeError: as `meta_gradient`.
    """
    if task_chunk is not None:
        checks.integer("task_chunk", task_chunk, least=1)
    chunks: list[Task] = []
    order: list[int] = []
    for positions, group in prepare(tasks, meta).groups:
        count = len(positions)
        size = count if task_chunk is None else min(task_chunk, count)
        chunks += [group if size == count else _take(group, slice(t, t + size)) for t in range(0, count, size)]
        order += positions
    # Without gradient mode the outermost products build no graph of themselves; `torch.func` is indifferent to it.
    with torch.no_grad():
        return execution.run(fn, tree.detach(meta), chunks), order


def joined(parts: list[Tree], order: list[int]) -> Tree:
    """Chunks one after another, in the order in which the tasks were given."""
    together = parts[0]
    for part in parts[1:]:
        together = tree.join(together, part)
    if order == sorted(order):
        return together
    back = torch.tensor(order).argsort()
    return tree.map(lambda leaf: leaf[back.to(leaf.device)], together)


def _take(tasks: Task, index: int | slice) -> Task:
    return map_leaves(lambda leaf: leaf[index], tasks)


def branch(result: Tree, name: str) -> Tree:
    """One branch of a tree that is known to be a dict."""
    return cast(dict[str, Tree], result)[name]
