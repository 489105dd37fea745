"""Whose memory is measured on MNIST-1D: a convolutional network, one task, and ways to a meta-gradient."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from metagrad.data.images import ImageEpisodes
from metagrad.data.mnist1d import LENGTH, load_mnist1d
from metagrad.estimators import Binomial, Exact, FiniteDifference, FirstOrder, Implicit
from metagrad.estimators.base import Estimator
from metagrad.inner.trajectory import Logarithmic, Slots, Stored, Trajectory
from metagrad.learner import MetaLearner
from metagrad.rules import SGD
from metagrad.training.evaluation import moved
from metagrad_studies.instruments.graph_maml import graph_meta_gradient

_KERNEL = 3


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What one meta-gradient is computed of: memory does not depend on the values, only on these sizes.

    Args:
        ways: digits of the task.
        shots: support signals of a digit.
        queries: query signals of a digit.
        depth: convolutional layers, all at the full length of 40 points.
        lr: of the inner steps.
        proximal: λ, where the estimator needs it.
        order: of Binomial.
        seed: of weights and task.
        device: where it is computed.
    """

    ways: int
    shots: int
    queries: int
    depth: int
    lr: float
    proximal: float
    order: int
    seed: int
    device: str


@dataclass(frozen=True)
class Way:
    """A way to a meta-gradient; `estimator` None is back-propagation through the kept graph of the whole loop."""

    estimator: Estimator | None
    trajectory: Trajectory | None = None
    proximal: bool = False
    link_chunk: int | None = None


def ways(workload: Workload) -> Mapping[str, Way]:
    """By the name that records and figures use."""
    return {
        "MAML, graph kept": Way(None),
        "Exact": Way(Exact(), Stored()),
        "Exact, Logarithmic": Way(Exact(), Logarithmic()),
        "Binomial, one link at a time": Way(Binomial(order=workload.order), Stored(), link_chunk=1),
        "Implicit": Way(Implicit(), proximal=True),
        "FO-B-MAML symmetric": Way(FiniteDifference(sides="symmetric"), proximal=True),
        "FO-B-MAML forward": Way(FiniteDifference(sides="forward"), proximal=True),
        "FirstOrder": Way(FirstOrder(), Slots(1)),
    }


def network(workload: Workload, channels: int) -> nn.Module:
    """Convolution, batch norm and ReLU, `depth` times without shortening, then the mean over positions and a head."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, LENGTH))]
    fan_in = 1
    for _ in range(workload.depth):
        layers += [
            nn.Conv1d(fan_in, channels, _KERNEL, padding=_KERNEL // 2),
            nn.BatchNorm1d(channels, track_running_stats=False),
            nn.ReLU(),
        ]
        fan_in = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, workload.ways))


def meta_gradient(workload: Workload, name: str, channels: int, num_steps: int) -> Callable[[], object]:
    """The computation of one meta-gradient of one task, ready to be called."""
    way = ways(workload)[name]
    device = torch.device(workload.device)
    draws = torch.Generator().manual_seed(workload.seed)
    tasks = ImageEpisodes(load_mnist1d().train, workload.ways, workload.shots, workload.queries).sample(1, draws)
    tasks = moved(tasks, device, torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(workload.seed)
        model = network(workload, channels).to(device)
    if way.estimator is None:
        return lambda: graph_meta_gradient(model, F.cross_entropy, workload.lr, num_steps, tasks)
    learner = MetaLearner(
        model,
        F.cross_entropy,
        SGD(workload.lr),
        num_steps,
        way.estimator,
        proximal=workload.proximal if way.proximal else None,
        trajectory=way.trajectory,
        link_chunk=way.link_chunk,
    )
    return lambda: learner.meta_gradient(tasks)
