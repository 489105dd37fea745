"""What all entries of the gallery share: small tasks with three classes, and a small network, in float64."""

import torch
from torch import Tensor, nn

from metagrad import Batch, Task
from metagrad.unrolled import CarriedState

WAYS, SHOTS, QUERIES, FEATURES, WIDTH = 3, 2, 5, 4, 8


def draw(count: int, seed: int = 0) -> Task:
    """Tasks whose classes are clouds about random centers; the examples of a class stand side by side."""
    draws = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draws, dtype=torch.float64)

    def examples(each: int) -> Batch:
        inputs = centers.repeat_interleave(each, dim=1) + 0.5 * normal(count, WAYS * each, FEATURES)
        return Batch(inputs, torch.arange(WAYS).repeat_interleave(each).expand(count, -1))

    centers = normal(count, WAYS, FEATURES)
    return Task(examples(SHOTS), examples(QUERIES))


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WAYS)).double()


def transformed() -> nn.Sequential:
    """The same with a square layer after each; those with the numbers 1 and 4 are to be left alone within a task."""
    net = nn.Sequential(
        nn.Linear(FEATURES, WIDTH),
        nn.Linear(WIDTH, WIDTH, bias=False),
        nn.Tanh(),
        nn.Linear(WIDTH, WAYS),
        nn.Linear(WAYS, WAYS, bias=False),
    )
    for layer in (net[1], net[4]):
        nn.init.eye_(layer.weight)
    return net.double()


def started(learner, **start: Tensor) -> CarriedState:
    """A start of an inner loop that stands on the tape, so that gradients pass on to what it was made of."""
    return CarriedState(learner.rule.initial_state(start), 0, learner.rule)
