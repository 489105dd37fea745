"""Tasks, checked and joined before anything is computed on them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from metagrad import tree
from metagrad.tasks.task import Batch, Task, map_leaves
from metagrad.tree import Tree


class NonFiniteError(ValueError):
    """NaN or infinity, in the data or in what came of them. `task` is the position of the first task that has it."""

    def __init__(self, message: str, task: int) -> None:
        super().__init__(message)
        self.task = task


@dataclass(frozen=True)
class Prepared:
    """Checked tasks: groups of equal shapes with a task axis, each with its positions in what was given."""

    groups: list[tuple[list[int], Task]]


Tasks = Task | Iterable[Task] | Prepared


def prepare(tasks: Tasks, meta: Tree) -> Prepared:
    """Check tasks and join those of equal shapes; what is prepared already is returned as it is.

    Raises:
        TypeError: not a `Task` of `Batch`es of tensors, nor an iterable of such.
        ValueError: no task, or tasks that do not fit together or the meta-parameters; names the leaf and the values.
        NonFiniteError: NaN or infinite values; carries the position of the first task that holds some.
    """
    if isinstance(tasks, Prepared):
        return tasks
    groups: list[tuple[list[int], Task]] = []
    if isinstance(tasks, Task):
        _check_structure(tasks, "")
        _check_fit(tasks, meta)
        groups.append((list(range(len(tasks.support.inputs))), _ordinary(tasks)))
    else:
        if not isinstance(tasks, Iterable):
            raise TypeError(f"tasks must be a Task with a leading task axis or a list of Tasks, got {tasks!r}")
        listed = list(tasks)
        positions: dict[tuple[object, ...], list[int]] = {}
        for position, task in enumerate(listed):
            _check_structure(task, f" of task {position} in the list")
            kind = tuple((leaf.shape, leaf.dtype, leaf.device) for batch in task for leaf in batch)
            positions.setdefault(kind, []).append(position)
        if not positions:
            raise ValueError("the list of tasks is empty: give at least one task")
        for same in positions.values():
            joined = Task(
                Batch(*(torch.stack([listed[i].support[leaf] for i in same]) for leaf in (0, 1))),
                Batch(*(torch.stack([listed[i].query[leaf] for i in same]) for leaf in (0, 1))),
            )
            _check_fit(joined, meta)
            groups.append((same, _ordinary(joined)))
    _check_finite(groups)
    return Prepared(groups)


def _check_structure(task: object, where: str) -> None:
    if not isinstance(task, Task):
        raise TypeError(f"tasks must be a Task with a leading task axis or a list of Tasks, got {type(task).__name__}")
    for part, batch in zip(("support", "query"), task, strict=True):
        if not isinstance(batch, Batch):
            raise TypeError(f"{part}{where} must be a Batch(inputs, targets), got {type(batch).__name__}")
        for name, leaf in zip(("inputs", "targets"), batch, strict=True):
            if not isinstance(leaf, Tensor):
                raise TypeError(f"{part} {name}{where} must be a torch.Tensor, got {type(leaf).__name__}")


def _check_fit(tasks: Task, meta: Tree) -> None:
    """Require task and example axes that agree, and the device and dtype of the meta-parameters."""
    leaves = tree.leaves(meta)
    model = leaves[0]
    devices = {leaf.device for leaf in leaves}
    if len(devices) > 1:
        raise ValueError(
            f"the meta-parameters are on {' and '.join(map(str, devices))}; move the whole learner with .to"
        )
    for part, batch in zip(("support", "query"), tasks, strict=True):
        inputs, targets = batch
        least = 3 if inputs.is_floating_point() else 2
        if inputs.ndim < least or targets.ndim < 2:
            raise ValueError(
                f"{part} inputs need axes [tasks, examples, features, …] and targets [tasks, examples, …], got "
                f"{list(inputs.shape)} and {list(targets.shape)}; add a task axis to one task with unsqueeze(0)"
            )
        if inputs.shape[:2] != targets.shape[:2]:
            raise ValueError(
                f"{part} inputs {list(inputs.shape)} and targets {list(targets.shape)} differ in their task or "
                "example axis"
            )
        if 0 in inputs.shape[:2]:
            raise ValueError(f"the {part} set is empty: its inputs have shape {list(inputs.shape)}")
        for name, leaf in zip(("inputs", "targets"), batch, strict=True):
            if leaf.device != model.device:
                raise ValueError(
                    f"{part} {name} are on {leaf.device} and the model on {model.device}; move one with .to(device)"
                )
            if leaf.is_floating_point() and leaf.dtype != model.dtype:
                raise ValueError(
                    f"{part} {name} are {leaf.dtype} and the model is {model.dtype}; convert one with .to(dtype)"
                )
    if len(tasks.support.inputs) != len(tasks.query.inputs):
        raise ValueError(
            f"support has {len(tasks.support.inputs)} tasks and query {len(tasks.query.inputs)}: the task axes differ"
        )


def _check_finite(groups: list[tuple[list[int], Task]]) -> None:
    bad: list[tuple[int, str]] = []
    for positions, tasks in groups:
        for part, batch in zip(("support", "query"), tasks, strict=True):
            for name, leaf in zip(("inputs", "targets"), batch, strict=True):
                # A sum is finite only if every value is, or overflows: a cheap look before the thorough one.
                if leaf.is_floating_point() and not leaf.sum().isfinite():
                    finite = leaf.isfinite().flatten(1).all(dim=1)
                    bad += [(positions[int(t)], f"{part} {name}") for t in (~finite).nonzero()]
    if bad:
        task, what = min(bad)
        raise NonFiniteError(f"{what} of task {task} hold NaN or infinite values", task)


def _ordinary(task: Task) -> Task:
    """Inference tensors cannot be saved for a derivative: copy them, and nothing else."""
    with torch.inference_mode(False):
        return map_leaves(lambda leaf: leaf.clone() if leaf.is_inference() else leaf, task)
