"""What every problem is: tasks, the model that fits them, its loss and its metrics; and what problems share."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metagrad.data.images import ImageEpisodes
from metagrad.data.pools import ClassPool
from metagrad.experiments.options import DATA_VARIABLE
from metagrad.networks import accuracy
from metagrad.objectives import Objective
from metagrad.task import TaskSource

Measure = Callable[[Tensor, Tensor], Tensor]


class Sources(NamedTuple):
    """Where the tasks of meta-training, validation and test come from."""

    train: TaskSource
    validation: TaskSource
    test: TaskSource


class Problem(Protocol):
    """A task distribution with the model, loss and metrics that go with it.

    Ours are frozen dataclasses of plain values, whose fields are options of the command line. A `loss_label`, if there
    is one, is what figures call the loss; `hyper()`, if there is one, gives the module that an `Objective` reads as its
    third argument.
    """

    def model(self) -> nn.Module:
        """A fresh model, initialised from torch's global generator."""
        ...

    def loss(self) -> Measure | Objective:
        """Support and query loss, the mean over examples; or functions of (model, batch), for batches of any form."""
        ...

    def metrics(self) -> Mapping[str, Measure]:
        """What else to measure on the query set."""
        ...

    def sources(self, device: torch.device) -> Sources:
        """Task sources, their data on `device`; ValueError where data are missing or too small."""
        ...


class Classification:
    """The loss and the metrics of every problem of classification."""

    loss_label: ClassVar[str] = "query cross-entropy (nats)"
    """What figures call the loss."""

    def loss(self) -> Measure:
        """Mean cross-entropy."""
        return F.cross_entropy

    def metrics(self) -> Mapping[str, Measure]:
        """The fraction of query examples classified correctly."""
        return {"accuracy": accuracy}


def episodes(
    pools: Sequence[ClassPool], ways: int, shots: int, queries: int, test_queries: int, **pixels: Any
) -> Sources:
    """Episodes from three pools, for training, validation and test.

    Args:
        pools: one for each.
        ways: classes of a task.
        shots: support images of a class.
        queries: query images of a class, in training and validation.
        test_queries: in place of `queries` in test tasks.
        pixels: what else `ImageEpisodes` takes.

    Raises:
        ValueError: a pool is too small; the sentence names it and the options to lower.
    """
    drawn: list[ImageEpisodes] = []
    number = {"queries": queries, "test-queries": test_queries}
    for part, pool, name in zip(Sources._fields, pools, ("queries", "queries", "test-queries"), strict=True):
        try:
            drawn.append(ImageEpisodes(pool, ways, shots, number[name], **pixels))
        except ValueError as error:
            options = ", ".join(f"--problem.{option}" for option in ("ways", "shots", name))
            raise ValueError(f"{part} tasks: {error} (options: {options})") from error
    return Sources(*drawn)


def data_directory(data: str | None, name: str, expected: str) -> Path:
    """The directory that a configuration names, or the environment; ValueError where neither does or there is none.

    Args:
        data: as configured.
        name: of the data set, for the message.
        expected: what the directory should hold, for the message.
    """
    named = data or os.environ.get(DATA_VARIABLE)
    if named is None:
        raise ValueError(f"{name} needs its files: give --data DIR (or set ${DATA_VARIABLE}) with {expected}")
    directory = Path(named)
    if not directory.is_dir():
        raise ValueError(f"the data directory {directory} does not exist; --data should hold {expected}")
    return directory
