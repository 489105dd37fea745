"""Tasks, checked and joined before anything is computed on them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from metagrad import structure, tree
from metagrad.structure import Data, Structure
from metagrad.task import Batch, Steps, Task, require_values
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
        TypeError: not a `Task`, nor an iterable of such; or a support or query set without a tensor.
        ValueError: no task, or tasks that do not fit together or the meta-parameters; names the leaf and the values.
        NonFiniteError: NaN or infinite values; carries the position of the first task that holds some.
    """
    if isinstance(tasks, Prepared):
        return tasks
    groups: list[tuple[list[int], Task]] = []
    if isinstance(tasks, Task):
        _check_kind(tasks, "")
        _check_fit(tasks, meta)
        groups.append((list(range(tasks.count)), _ordinary(tasks)))
    else:
        if not isinstance(tasks, Iterable):
            raise TypeError(f"tasks must be a Task with a leading task axis or a list of Tasks, got {tasks!r}")
        for positions, listed in _alike(list(tasks)):
            joined = Task.stack(listed)
            _check_fit(joined, meta)
            groups.append((positions, _ordinary(joined)))
    _check_finite(groups)
    return Prepared(groups)


def _alike(tasks: list[Task]) -> list[tuple[list[int], list[Task]]]:
    """Single tasks by structure and shapes: their positions, and they themselves."""
    if not tasks:
        raise ValueError("the list of tasks is empty: give at least one task")
    kinds: dict[tuple[object, ...], list[int]] = {}
    first: Structure | None = None
    for position, task in enumerate(tasks):
        _check_kind(task, f" of task {position} in the list")
        leaves, shape = structure.flatten(task)
        first = first or shape
        if shape.paths != first.paths:
            odd = sorted({*shape.paths} ^ {*first.paths})
            raise ValueError(
                f"task {position} in the list holds other data than task 0: {', '.join(odd[:3])} "
                f"{'is' if len(odd) == 1 else 'are'} in one of them only"
            )
        kinds.setdefault((shape, *((leaf.shape, leaf.dtype, leaf.device) for leaf in leaves)), []).append(position)
    return [(positions, [tasks[i] for i in positions]) for positions in kinds.values()]


def _check_kind(task: object, where: str) -> None:
    if not isinstance(task, Task):
        raise TypeError(f"tasks must be a Task with a leading task axis or a list of Tasks, got {type(task).__name__}")
    for part, data in task.parts:
        if isinstance(data, Batch) and not structure.leaves(data.inputs):
            raise TypeError(f"{part} inputs{where} must be a torch.Tensor, got {type(data.inputs).__name__}")
        plain = (bool, int, float, str, bytes, type(None), torch.device, torch.dtype)
        if isinstance(data, Batch) and not (structure.leaves(data.targets) or isinstance(data.targets, plain)):
            raise TypeError(f"{part} targets{where} must be a torch.Tensor, got {type(data.targets).__name__}")
        if not structure.leaves(data):
            raise TypeError(f"{part}{where} must hold at least one torch.Tensor, got {type(data).__name__}")
        require_values(part, data, where)
    if isinstance(task.query, Steps):
        raise TypeError(f"query{where} is Steps(…): only the support set differs from step to step")


def _check_fit(tasks: Task, meta: Tree) -> None:
    """Require task and example axes that agree, and the device and dtype of the meta-parameters."""
    known = tree.leaves(meta)
    model = known[0]
    devices = {leaf.device for leaf in known}
    if len(devices) > 1:
        raise ValueError(
            f"the meta-parameters are on {' and '.join(map(str, devices))}; move the whole learner with .to"
        )
    for part, data in tasks.parts:
        if isinstance(data, Batch):
            _check_batch(part, data, model)
    counts: dict[str, int] = {}
    for part, data in tasks.parts:
        for path, leaf in _named(part, data):
            if leaf.ndim == 0:
                raise ValueError(f"{path} has no task axis: every tensor of a batch of tasks is [tasks, …]")
            if leaf.device != model.device:
                raise ValueError(
                    f"{path} are on {leaf.device} and the model on {model.device}; move one with .to(device)"
                )
            counts[path] = len(leaf)
    (first, count), *others = counts.items()
    if count == 0:
        raise ValueError(f"there is no task: {first} has 0 on its task axis")
    for path, other in others:
        if other != count:
            raise ValueError(f"{first} have {count} tasks and {path} {other}: the task axes differ")


def _check_batch(part: str, batch: Batch, model: Tensor) -> None:
    """What holds for inputs and targets that are one tensor each."""
    inputs, targets = batch
    if isinstance(inputs, Tensor) and isinstance(targets, Tensor):
        least = 3 if inputs.is_floating_point() else 2
        if inputs.ndim < least or targets.ndim < 2:
            raise ValueError(
                f"{part} inputs need axes [tasks, examples, features, …] and targets [tasks, examples, …], got "
                f"{list(inputs.shape)} and {list(targets.shape)}; give one task in a list, [task]"
            )
        if 0 in inputs.shape[:2]:
            raise ValueError(f"the {part} set is empty: its inputs have shape {list(inputs.shape)}")
    for name, leaf in zip(("inputs", "targets"), batch, strict=True):
        wrong = isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.dtype != model.dtype
        if wrong and model.is_floating_point():
            raise ValueError(
                f"{part} {name} are {leaf.dtype} and the model is {model.dtype}; convert one with .to(dtype)"
            )


def _check_finite(groups: list[tuple[list[int], Task]]) -> None:
    bad: list[tuple[int, str]] = []
    for positions, tasks in groups:
        for part, data in tasks.parts:
            for path, leaf in _named(part, data):
                # A sum is finite only if every value is, or overflows: a cheap look before the thorough one.
                if leaf.is_floating_point() and not leaf.sum().isfinite():
                    # An additive mask, which only an objective of the user's own can read, holds -inf rightly.
                    valid = leaf.isfinite() if isinstance(data, Batch) else ~leaf.isnan()
                    valid = valid.flatten(1).all(dim=1) if leaf.ndim > 1 else valid
                    bad += [(positions[int(t)], path) for t in (~valid).nonzero()]
    if bad:
        task, what = min(bad)
        raise NonFiniteError(f"{what} of task {task} hold NaN or infinite values", task)


def _named(part: str, data: Data) -> list[tuple[str, Tensor]]:
    """Each tensor with its name in messages: "support inputs", "query labels[1]"."""
    leaves, shape = structure.flatten(data.data if isinstance(data, Steps) else data)
    return [(f"{part} {path}".strip(), leaf) for path, leaf in zip(shape.paths, leaves, strict=True)]


def _ordinary(task: Task) -> Task:
    """Inference tensors cannot be saved for a derivative: copy them, and nothing else."""
    with torch.inference_mode(False):
        return task.map(lambda leaf: leaf.clone() if leaf.is_inference() else leaf)
