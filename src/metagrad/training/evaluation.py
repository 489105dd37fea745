"""Held-out tasks: loss and metrics after every number of inner steps, with 95 % intervals and paired differences."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from metagrad.task import Task, TaskSource


class Interval(NamedTuple):
    """A mean and half the width of its 95 % interval: mean ± 1.96 s / √n, s the standard deviation with n - 1."""

    mean: float
    half_width: float


class Evaluated(Protocol):
    """Query loss and metrics of T tasks after 0..S inner steps, each [T, S+1]."""

    @property
    def loss(self) -> Tensor:
        """Query loss."""
        ...

    @property
    def metrics(self) -> Mapping[str, Tensor]:
        """Query metrics by name."""
        ...


class Evaluable(Protocol):
    """Anything that adapts to tasks and is measured on their query sets; `MetaLearner` is one."""

    def evaluate(self, tasks: Task, num_steps: int | None = None) -> Evaluated:
        """Measure after 0..`num_steps` inner steps; None means as many as in training."""
        ...


@dataclass(frozen=True)
class HeldOut:
    """What held-out tasks gave: `values["loss"]` and one entry a metric, each [n, S+1], float64 on the CPU.

    Row i is task i and column k is after k inner steps, so two of these with the same tasks can be paired.
    """

    values: Mapping[str, Tensor]

    @property
    def tasks(self) -> int:
        """The number of tasks, n."""
        return self.values["loss"].shape[0]

    @property
    def steps(self) -> int:
        """The largest number of inner steps measured, S."""
        return self.values["loss"].shape[1] - 1

    def intervals(self, name: str) -> list[Interval]:
        """Mean and 95 % interval after 0..S inner steps."""
        return [interval(column) for column in self.values[name].T]

    def record(self) -> dict[str, Any]:
        """For JSON: means, half widths and the value of every task."""
        return {
            name: {
                "mean": [entry.mean for entry in self.intervals(name)],
                "half_width_95": [entry.half_width for entry in self.intervals(name)],
                "tasks": table.tolist(),
            }
            for name, table in self.values.items()
        }


def interval(values: Tensor) -> Interval:
    """Mean ± 1.96 s/√n of a vector; the half width of a single value is NaN, for nothing is known of its spread."""
    spread = values.std(correction=1).item() if len(values) > 1 else math.nan
    return Interval(values.mean().item(), 1.96 * spread / math.sqrt(len(values)))


def fixed_tasks(source: TaskSource, count: int, seed: int) -> list[Task]:
    """`count` tasks, one by one with leaves [1, N, ...], that depend on the source and the seed alone.

    Drawn singly, so that the first 100 of 600 tasks are the same 100 however many are measured side by side:
    measurements with equal seeds are paired task by task.
    """
    generator = torch.Generator().manual_seed(seed)
    return [source.sample(1, generator) for _ in range(count)]


def evaluate(
    learner: Evaluable,
    tasks: list[Task],
    num_steps: int | None,
    *,
    chunk: int,
    device: torch.device,
    dtype: torch.dtype,
) -> HeldOut:
    """Measure the learner on held-out tasks after 0..`num_steps` inner steps, `chunk` tasks side by side.

    Raises:
        ValueError: no tasks, or a chunk below 1.
    """
    if not tasks or chunk < 1:
        raise ValueError(f"evaluation needs tasks and a chunk of at least 1, got {len(tasks)} tasks and {chunk}")
    parts: list[Evaluated] = []
    for start in range(0, len(tasks), chunk):
        together = Task.join(tasks[start : start + chunk]).to(device, dtype)
        parts.append(learner.evaluate(together, num_steps))
    names = ["loss", *parts[0].metrics]
    columns = {name: [part.loss if name == "loss" else part.metrics[name] for part in parts] for name in names}
    return HeldOut({name: torch.cat([t.detach().cpu().double() for t in ts]) for name, ts in columns.items()})


def paired(first: HeldOut, second: HeldOut, name: str) -> list[Interval]:
    """Mean of first minus second over the same tasks, with its interval, after 0..S inner steps.

    Tasks differ far more than learners do, so this is much narrower than the difference of two means.

    Raises:
        ValueError: the two were not measured on the same number of tasks and steps.
    """
    a, b = first.values[name], second.values[name]
    if a.shape != b.shape:
        raise ValueError(
            f"a paired comparison needs the same tasks and steps, got {a.shape[0]} tasks with {a.shape[1] - 1} "
            f"steps and {b.shape[0]} tasks with {b.shape[1] - 1} steps"
        )
    return [interval(column) for column in (a - b).T]
