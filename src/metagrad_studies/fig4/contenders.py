"""One meta-step of a convolutional network by every estimator over L, and by MAML with its graph kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from metagrad.estimators import Binomial, Exact, FirstOrder, Truncated
from metagrad.estimators.base import Estimator
from metagrad.learner import MetaLearner
from metagrad.networks import Conv4
from metagrad.rules import SGD
from metagrad.task import Batch, Task
from metagrad_studies.instruments.graph_maml import graph_meta_gradient

KEPT, EXACT, FIRST = "MAML, graph kept", "MAML, recomputed", "FOMAML"
TRUNCATED, TOGETHER, SINGLY = "Truncated", "Binomial", "Binomial, one link at a time"


@dataclass(frozen=True, kw_only=True)
class ConsumptionSettings:
    """One meta-gradient, and how it is measured.

    Args:
        ways: classes of a task.
        shots: support images of a class, each a setup of its own.
        queries: query images of a class.
        size: height and width of an image.
        filters: of each of the four convolutions.
        num_steps: K.
        lr: of the inner steps.
        meta_batch: tasks of a meta-step, one after another.
        turns: timed repetitions; every contender once a turn.
        seed: of weights and images.
        device: where it is computed.
        watched_seconds: on CUDA, how long each contender is watched for its utilisation.
        watched_every: seconds between two looks.
        markedly: largest ratio of memory or utilisation that counts as markedly reduced.
        slightly: largest ratio of times that counts as slightly above.
        matching: largest ratio of times, either way, that counts as a match.
    """

    ways: int
    shots: tuple[int, ...]
    queries: int
    size: int
    filters: int
    num_steps: int
    lr: float
    meta_batch: int
    turns: int
    seed: int
    device: str
    watched_seconds: float
    watched_every: float
    markedly: float
    slightly: float
    matching: float


def contenders(settings: ConsumptionSettings, shots: int) -> list[tuple[Mapping[str, Any], Callable[[], object]]]:
    """What tells each from the others (family and order), and one meta-gradient of it."""
    device = torch.device(settings.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = Conv4(settings.ways, 3, settings.filters, settings.size, "max").to(device)
    tasks = _tasks(settings, shots, device)

    def learner(estimator: Estimator, link_chunk: int | None = None) -> Callable[[], object]:
        made = MetaLearner(
            model,
            F.cross_entropy,
            SGD(settings.lr),
            settings.num_steps,
            estimator,
            task_chunk=1,
            link_chunk=link_chunk,
        )
        return lambda: made.meta_gradient(tasks)

    orders = range(settings.num_steps + 1)
    found: list[tuple[Mapping[str, Any], Callable[[], object]]] = [
        (
            {"family": KEPT, "order": None},
            lambda: graph_meta_gradient(model, F.cross_entropy, settings.lr, settings.num_steps, tasks),
        ),
        ({"family": EXACT, "order": None}, learner(Exact())),
        ({"family": FIRST, "order": None}, learner(FirstOrder())),
    ]
    found += [({"family": TRUNCATED, "order": order}, learner(Truncated(order))) for order in orders]
    found += [({"family": TOGETHER, "order": order}, learner(Binomial(order))) for order in orders]
    found += [({"family": SINGLY, "order": order}, learner(Binomial(order), 1)) for order in orders[1:-1]]
    return found


def _tasks(settings: ConsumptionSettings, shots: int, device: torch.device) -> Task:
    draws = torch.Generator().manual_seed(settings.seed)

    def batch(examples: int) -> Batch:
        shape = (settings.meta_batch, settings.ways * examples, 3, settings.size, settings.size)
        targets = torch.arange(settings.ways).repeat_interleave(examples).expand(settings.meta_batch, -1)
        return Batch(torch.randn(shape, generator=draws).to(device), targets.contiguous().to(device))

    return Task(batch(shots), batch(settings.queries))
