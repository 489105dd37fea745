"""Whose memory is measured on MNIST-1D: a convolutional network, one task, and ways to a meta-gradient."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from metagrad import SGD, Binomial, Exact, FiniteDifference, FirstOrder, Implicit, MetaLearner
from metagrad.data.images import ImageEpisodes
from metagrad.data.mnist1d import LENGTH, load_mnist1d
from metagrad.inner.trajectory import Logarithmic, Slots, Stored
from metagrad_studies.instruments.graph_maml import graph_meta_gradient

_KERNEL = 3
KEPT = "MAML, graph kept"  # Back-propagation through the graph of the whole loop, which no `MetaLearner` does


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What one meta-gradient is computed of: memory does not depend on the values, only on these sizes."""

    ways: int = 5  # digits of the task
    shots: int = 10  # support signals of a digit
    queries: int = 5  # query signals of a digit
    depth: int = 3  # convolutional layers, all at the full length of 40 points
    lr: float = 0.1  # of the inner steps
    proximal: float = 1.0  # λ, where the estimator needs it
    order: int = 2  # of Binomial
    seed: int = 0  # of weights and task
    device: str  # where it is computed


def ways(workload: Workload) -> Mapping[str, Mapping[str, Any]]:
    """Options of a `MetaLearner`, by the name that records and figures use."""
    anchor = workload.proximal
    return {
        KEPT: {},
        "Exact": {"estimator": Exact(), "trajectory": Stored()},
        "Exact, Logarithmic": {"estimator": Exact(), "trajectory": Logarithmic()},
        "Binomial, one link at a time": {
            "estimator": Binomial(order=workload.order),
            "trajectory": Stored(),
            "link_chunk": 1,
        },
        "Implicit": {"estimator": Implicit(), "proximal": anchor},
        "FO-B-MAML symmetric": {"estimator": FiniteDifference(sides="symmetric"), "proximal": anchor},
        "FO-B-MAML forward": {"estimator": FiniteDifference(sides="forward"), "proximal": anchor},
        "FirstOrder": {"estimator": FirstOrder(), "trajectory": Slots(1)},
    }


def network(workload: Workload, channels: int) -> nn.Module:
    """Convolution, batch norm and ReLU, `depth` times without shortening, then the mean over positions and a head."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, LENGTH))]
    for fan_in in (1, *[channels] * (workload.depth - 1)):
        convolution = nn.Conv1d(fan_in, channels, _KERNEL, padding=_KERNEL // 2)
        layers += [convolution, nn.BatchNorm1d(channels, track_running_stats=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, workload.ways))


def meta_gradient(workload: Workload, name: str, channels: int, num_steps: int) -> Callable[[], object]:
    """The computation of one meta-gradient of one task, ready to be called."""
    device, draws = torch.device(workload.device), torch.Generator().manual_seed(workload.seed)
    tasks = ImageEpisodes(load_mnist1d().train, workload.ways, workload.shots, workload.queries).sample(1, draws)
    tasks = tasks.to(device, torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(workload.seed)
        model = network(workload, channels).to(device)
    if name == KEPT:
        return lambda: graph_meta_gradient(model, F.cross_entropy, workload.lr, num_steps, tasks)
    learner = MetaLearner(model, F.cross_entropy, SGD(workload.lr), num_steps, **ways(workload)[name])
    return lambda: learner.meta_gradient(tasks)
