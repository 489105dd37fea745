"""A function of one task at many: side by side under `vmap`, a few at a time, or one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.func import vmap

from metagrad import checks, structure, tree
from metagrad.prepared import Prepared, Tasks, prepare
from metagrad.task import Task
from metagrad.tree import Tree

OfTask = Callable[[Tree, Task], Tree]
"""A pure function of meta-parameters and one task. Of its result, branch "sum" is wanted summed over tasks and branch
"each" for every task."""


@dataclass(frozen=True)
class Chunk:
    """A function of one task at several, [t, N, ...] in: vmapped, or as it is for one task."""

    of_task: OfTask

    def __call__(self, meta: Tree, tasks: Task) -> Tree:
        """Evaluate at every task: "sum" over them, "each" with a task axis."""
        if tasks.count == 1:
            alone = cast(dict[str, Tree], self.of_task(meta, tasks.take(0)))
            return {**alone, "each": tree.map(lambda leaf: leaf.unsqueeze(0), alone.get("each", {}))}
        leaves, shape = structure.flatten(tasks)

        def of_leaves(meta: Tree, *of_one: Tensor) -> Tree:
            return self.of_task(meta, shape.unflatten(of_one))

        together = cast(dict[str, Tree], vmap(of_leaves, in_dims=(None, *[0] * len(leaves)))(meta, *leaves))
        return {**together, "sum": tree.map(lambda leaf: leaf.sum(dim=0), together.get("sum", {}))}


def in_chunks(tasks: Prepared, task_chunk: int | None) -> tuple[list[Task], list[int]]:
    """Tasks a few at a time, and the positions of those of one chunk after another."""
    if task_chunk is not None:
        checks.integer("task_chunk", task_chunk, least=1)
    chunks: list[Task] = []
    order: list[int] = []
    for positions, group in tasks.groups:
        count = len(positions)
        size = count if task_chunk is None else min(task_chunk, count)
        chunks += [group if size == count else group.take(slice(t, t + size)) for t in range(0, count, size)]
        order += positions
    return chunks, order


def joined(results: list[Tree], order: list[int]) -> Tree:
    """The results of chunks: "sum" over all, "each" in the order in which the tasks were given."""
    total: Tree = {}
    for result in results:
        total = tree.add(total, branch(result, "sum"))
    each = branch(results[0], "each")
    for result in results[1:]:
        each = tree.join(each, branch(result, "each"))
    if order != sorted(order):
        back = torch.tensor(order).argsort()
        each = tree.map(lambda leaf: leaf[back.to(leaf.device)], each)
    return {"sum": total, "each": each}


def over_tasks(fn: OfTask, meta: Tree, tasks: Tasks, task_chunk: int | None) -> Tree:
    """Apply a function of (meta-parameters, one task) to every task, as written.

    Args:
        fn: pure; its result is a tree.
        meta: the meta-parameters.
        tasks: as for `meta_gradient`.
        task_chunk: how many run side by side; None for all, 1 for a plain loop.

    Returns:
        The results stacked along a task axis in the order of `tasks`.

    Raises:
        ValueError: as `meta_gradient`.
        TypeError: as `meta_gradient`.
    """
    chunk = Chunk(lambda meta, task: {"each": fn(meta, task)})
    # Without gradient mode the outermost products build no graph of themselves; `torch.func` is indifferent to it.
    with torch.inference_mode(False), torch.no_grad():
        chunks, order = in_chunks(prepare(tasks, meta), task_chunk)
        return branch(joined([chunk(tree.detach(meta), part) for part in chunks], order), "each")


def branch(result: Tree, name: str) -> Tree:
    """One branch of a tree that is known to be a dict; {} for none."""
    return cast(dict[str, Tree], result).get(name, {})
