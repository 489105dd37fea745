"""A network that no estimator was developed, tuned or tried on: residual, group normalisation, SiLU."""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metagrad import Exact, InnerLoop, MetaLearner
from metagrad.experiments.config import Experiment, Optimizer
from metagrad.experiments.presets import PRESETS
from metagrad.tree import Tree
from metagrad_studies.core import Bench
from metagrad_studies.error_grid.records import GridNetwork

PRESET = "fc100-5way-1shot"
NAME = "residual-fc100"
_WAYS = 5  # of the preset


def network() -> GridNetwork:
    """FC100 at two step sizes that the grid does not have, early in training."""
    optimizer = Optimizer(name="adam", lr=1e-3, momentum=0.9, clip=None, schedule="constant")
    config = replace(PRESETS[PRESET](), meta_batch=4, optimizer=optimizer, probe_every=None)
    return GridNetwork(NAME, config.to_json(), (0.05, 0.2), (5,), (0, 30, 100), tasks=7, probes=4, tasks_at_once=1)


class Block(nn.Module):
    """x' = skip(x) + two convolutions with group normalisation; SiLU. [N, in, H, W] to [N, out, H/stride, W/stride]."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
        self.second = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(inside, outside, 1, stride, bias=False)
        self.norms = nn.ModuleList([nn.GroupNorm(4, outside) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.norms[0](self.first(x)))
        return F.silu(self.skip(x) + self.norms[1](self.second(y)))


class Residual(nn.Module):
    """Blocks of 8, 16, 32 and 64 channels, each halving the image, mean over pixels, a linear head; [N, 3, H, W]."""

    def __init__(self, ways: int) -> None:
        super().__init__()
        widths = (3, 8, 16, 32, 64)
        self.blocks = nn.Sequential(*(Block(a, b, 2) for a, b in pairwise(widths)))
        self.head = nn.Linear(widths[-1], ways)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, ways]."""
        return self.head(self.blocks(x).mean(dim=(2, 3)))


def trained(config: Experiment, bench: Bench) -> tuple[InnerLoop, Tree]:
    """The inner loop and the weights in float64, trained with Exact from the seed; the disk keeps nothing of it."""
    learner = _learner(config, torch.float32)
    optimizer = torch.optim.Adam(learner.parameters(), lr=config.optimizer.lr)
    source = config.problem.sources(torch.device("cpu")).train
    draws = torch.Generator().manual_seed(config.seed)
    bench.reporter.started(0, config.meta_steps)
    for step in range(config.meta_steps):
        optimizer.zero_grad()
        result = learner.backward(source.sample(config.meta_batch, draws))
        optimizer.step()
        bench.reporter.stepped(step + 1, {"loss": result.loss.mean().item()})
    precise = _learner(config, torch.float64)
    precise.load_state_dict(learner.state_dict())
    return precise.loop, precise.meta()


def _learner(config: Experiment, dtype: torch.dtype) -> MetaLearner:
    """One task at a time: side by side, convolutions become grouped ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Residual(_WAYS).to(dtype)
    return MetaLearner(model, F.cross_entropy, config.rule, config.num_steps, Exact(), task_chunk=1)
