"""N-way K-shot classification of MNIST-1D signals, which needs no files."""

from dataclasses import dataclass, field

import torch
from torch import nn

from metagrad import checks
from metagrad.data.mnist1d import LENGTH, load_mnist1d
from metagrad.experiments.problem import Classification, Sources, episodes
from metagrad.networks import MLP


@dataclass(frozen=True, kw_only=True)
class Mnist1dClassification(Classification):
    """N-way K-shot classification of MNIST-1D signals with an MLP; needs no files.

    All ten digits are in meta-training, validation and test, each with its own signals; tasks differ in which digits
    take part and in how they are numbered.
    """

    data_seed: int = field(metadata={"help": "seed of the signals; 42 gives the published ones"})
    ways: int = field(metadata={"help": "digits of a task"})
    shots: int = field(metadata={"help": "support signals of a digit"})
    queries: int = field(metadata={"help": "query signals of a digit in meta-training and validation"})
    test_queries: int = field(metadata={"help": "query signals of a digit in test tasks"})
    hidden: tuple[int, ...] = field(metadata={"help": "widths of the hidden layers"})

    def __post_init__(self) -> None:
        checks.integer("data_seed", self.data_seed, least=0, most=2**32 - 1)
        checks.integer("ways", self.ways, least=2, most=10)
        for name in ("shots", "queries", "test_queries"):
            checks.integer(name, getattr(self, name), least=1)
        for width in self.hidden:
            checks.integer("hidden widths", width, least=1)

    def model(self) -> nn.Module:
        """A ReLU network from 40 points to one number for each way."""
        return MLP([LENGTH, *self.hidden, self.ways])

    def sources(self, device: torch.device) -> Sources:
        """Episodes from three pools of the same digits that share no signal."""
        pools = [pool.to(device) for pool in load_mnist1d(self.data_seed)]
        return episodes(pools, self.ways, self.shots, self.queries, self.test_queries)
