"""What a task is, and where tasks come from.

Axis legend, used everywhere: T tasks, K inner steps, N examples of one task, then the features of one example.
Sources give leaves of shape [T, N, ...]; inside an episode one task has leaves [N, ...]. This is the only place that
looks inside a task.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from metagrad import structure
from metagrad.structure import Data


class Batch(NamedTuple):
    """Examples of one or of several tasks.

    Shapes: `inputs` [N, ...] and `targets` [N, ...] for one task; [T, N, ...] for T tasks. `inputs` may be any nesting
    of tensors: a mapping reaches the model as keywords, a list or a tuple as arguments. `targets` may be left out.

    Example:
        >>> batch = Batch(torch.randn(10, 3), torch.randn(10, 1))
        >>> batch.inputs.shape
        torch.Size([10, 3])
    """

    inputs: Data
    targets: Data = None


@dataclass(frozen=True, eq=False)
class Steps:
    """Other data at each inner step: leaves have a leading step axis [K, ...] ([T, K, ...] in a batch of tasks).

    Step k adapts on entry k. `Steps` stands where a support set stands.

    >>> steps = Steps(Batch(torch.arange(6.0).reshape(3, 2, 1), torch.zeros(3, 2, 1)))
    >>> steps.at(1).inputs.flatten().tolist()
    [2.0, 3.0]
    """

    data: Data

    def check(self, num_steps: int) -> None:
        """Require one entry for each of `num_steps` steps.

        Raises:
            ValueError: a tensor of another length, named by its path, or none at all.
        """
        leaves, shape = structure.flatten(self.data)
        lengths = {path: len(leaf) if leaf.ndim else 0 for path, leaf in zip(shape.paths, leaves, strict=True)}
        held = sorted(set(lengths.values()))
        if held == [num_steps]:
            return
        where = f" ({', '.join(f'{path}: {length}' for path, length in lengths.items())})" if len(held) > 1 else ""
        raise ValueError(
            f"support is Steps of length {', '.join(map(str, held)) or 'none'}{where}, and the inner loop takes "
            f"{num_steps} steps: give each step one entry"
        )

    def at(self, k: int | slice) -> Data:
        """The data of step k of one task, or those of several steps with their step axis."""
        return structure.map(lambda leaf: leaf[k], self.data)


def require_values(part: str, data: Data, where: str = "") -> None:
    """Refuse data that requires a gradient.

    Raises:
        ValueError: names the tensor, and the way that works.
    """
    leaves, shape = structure.flatten(data.data if isinstance(data, Steps) else data)
    for path, leaf in zip(shape.paths, leaves, strict=True):
        if leaf.requires_grad:
            raise ValueError(
                f"{f'{part} {path}'.strip()}{where} requires a gradient, and a meta-gradient with respect to data does "
                "not pass here; make it a parameter of the hyper module of an Objective, or call .detach()"
            )


@dataclass(frozen=True, eq=False)
class Task:
    """One or several tasks: adaptation sees `support`, the loss after adaptation is measured on `query`.

    Either is a `Batch`, or any nesting of mappings, lists, tuples, named tuples and dataclasses that the objective
    understands. In a batch of tasks every tensor has a leading task axis; what is no tensor belongs to all tasks.

    Args:
        support: what the inner steps adapt on; `Steps(data)` gives each step data of its own.
        query: what the adapted model is measured on.

    Example:
        >>> batch = Batch(torch.randn(4, 10, 3), torch.randn(4, 10, 1))  # four tasks of ten examples
        >>> tasks = Task(support=batch, query=batch)
        >>> tasks.count, tasks.take(0).support.inputs.shape
        (4, torch.Size([10, 3]))
    """

    support: Data
    query: Data

    def __iter__(self) -> Iterator[Data]:
        """`support, query = task`."""
        return iter((self.support, self.query))

    @property
    def parts(self) -> tuple[tuple[str, Data], tuple[str, Data]]:
        """("support", …) and ("query", …)."""
        return ("support", self.support), ("query", self.query)

    @property
    def count(self) -> int:
        """T, of a batch of tasks."""
        return len(self.leaves[0])

    @property
    def leaves(self) -> list[Tensor]:
        """Every tensor, support first."""
        return structure.leaves(self)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.leaves[0].device

    def map(self, fn: Callable[[Tensor], Tensor]) -> "Task":
        """Apply a function to every tensor."""
        return structure.map(fn, self)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Task":
        """The same task elsewhere; a dtype reaches floating-point tensors alone, as in `Module.to`."""
        return self.map(lambda leaf: leaf.to(device=device, dtype=dtype if leaf.is_floating_point() else None))

    def take(self, index: int | slice) -> "Task":
        """One task without its task axis, or some, of a batch of tasks."""
        return self.map(lambda leaf: leaf[index])

    @staticmethod
    def join(tasks: Sequence["Task"]) -> "Task":
        """Batches of tasks of one structure, one after another along the task axis."""
        flat, structures = zip(*(structure.flatten(task) for task in tasks), strict=True)
        return structures[0].unflatten(torch.cat(same) for same in zip(*flat, strict=True))

    @staticmethod
    def stack(tasks: Sequence["Task"]) -> "Task":
        """Single tasks of one structure and equal shapes as a batch of tasks.

        Raises:
            ValueError: the shapes differ.
        """
        flat, structures = zip(*(structure.flatten(task) for task in tasks), strict=True)
        if len({tuple(leaf.shape for leaf in leaves) for leaves in flat}) > 1:
            raise ValueError("tasks of different sizes cannot be stacked: give backward and evaluate a list of them")
        return structures[0].unflatten(torch.stack(same) for same in zip(*flat, strict=True))

    @staticmethod
    def split(batch: Data, shots: int, generator: torch.Generator | None = None) -> "Task":
        """Support and query set of one labelled batch [N, ...]: `shots` examples of each class to adapt on, the rest
        to measure on.

        Args:
            batch: `Batch(inputs, targets)` with class numbers [N] as targets; inputs may be any nesting of [N, ...].
            shots: examples of each class in the support set, at least 1.
            generator: draws which; None takes the first of each class.

        Raises:
            ValueError: targets that are not [N] class numbers, or a class with no example left for the query set.

        >>> task = Task.split(Batch(torch.arange(6.0)[:, None], torch.tensor([0, 1, 0, 1, 0, 1])), shots=1)
        >>> task.support.inputs.flatten().tolist(), task.query.targets.tolist()
        ([0.0, 1.0], [0, 1, 0, 1])
        """
        targets = batch.targets
        if not isinstance(targets, Tensor) or targets.ndim != 1 or targets.is_floating_point():
            raise ValueError("Task.split needs Batch(inputs, targets) with class numbers [N] as targets")
        order = torch.arange(len(targets)) if generator is None else torch.randperm(len(targets), generator=generator)
        order = order.to(targets.device)
        chosen: list[Tensor] = []
        for label in targets.unique():
            members = order[targets[order] == label]
            if shots < 1 or len(members) <= shots:
                raise ValueError(f"class {int(label)} has {len(members)} examples: shots must be 1 to their number - 1")
            chosen.append(members[:shots])
        support = torch.cat(chosen).sort().values
        rest = torch.ones(len(targets), dtype=torch.bool, device=targets.device)
        rest[support] = False
        query = rest.nonzero().flatten()
        return Task(
            structure.map(lambda leaf: leaf[support], batch),
            structure.map(lambda leaf: leaf[query], batch),
        )


class TaskSource(Protocol):
    """A distribution of tasks."""

    def sample(self, count: int, generator: torch.Generator) -> Task:
        """Draw `count` tasks; every leaf is [count, N, ...] and depends on the generator's state alone."""
        ...
