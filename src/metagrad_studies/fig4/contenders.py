"""One meta-step of a convolutional network by every estimator over L, and how busy each keeps the processor."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from metagrad import SGD, Batch, Binomial, Exact, FirstOrder, MetaLearner, Task, Truncated
from metagrad.estimators import Estimator
from metagrad.networks import Conv4
from metagrad_studies.instruments.graph_maml import graph_meta_gradient


def timed(compute: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Wall seconds of a computation, and processor seconds of this process with all its threads."""
    wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    wait()
    began, worked = time.perf_counter(), time.process_time()
    compute()
    wait()
    return time.perf_counter() - began, time.process_time() - worked


def sampled(compute: Callable[[], object], sample: Callable[[], float], seconds: float, every: float) -> float:
    """Mean of `sample`, taken every `every` seconds while `compute` is called again and again for `seconds`."""
    values: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            values.append(sample())
            done.wait(every)

    watcher = threading.Thread(target=watch, daemon=True)
    end = time.perf_counter() + seconds
    watcher.start()
    try:
        while time.perf_counter() < end:
            compute()
    finally:
        done.set()
        watcher.join()
    return sum(values) / len(values)


def cuda_sample(device: torch.device) -> Callable[[], float] | None:
    """Share of the time in which a kernel ran on the GPU lately, as its driver reports it; None without pynvml."""
    try:
        torch.cuda.utilization(device)
    except (ImportError, RuntimeError):
        return None
    return lambda: torch.cuda.utilization(device) / 100


KEPT, EXACT, FIRST = "MAML, graph kept", "MAML, recomputed", "FOMAML"
TRUNCATED, TOGETHER, SINGLY = "Truncated", "Binomial", "Binomial, one link at a time"


@dataclass(frozen=True, kw_only=True)
class ConsumptionSettings:
    """One meta-gradient, and how it is measured."""

    ways: int = 5  # classes of a task
    shots: tuple[int, ...] = (1, 5)  # support images of a class, each a setup of its own
    queries: int = 15  # query images of a class
    size: int  # height and width of an image
    filters: int = 32  # of each of the four convolutions
    num_steps: int = 5  # K
    lr: float = 0.01  # of the inner steps
    meta_batch: int  # tasks of a meta-step, one after another
    turns: int  # timed repetitions; every contender once a turn
    seed: int = 0  # of weights and images
    device: str  # where it is computed
    watched_seconds: float = 5.0  # on CUDA, how long each contender is watched for its utilisation
    watched_every: float = 0.1  # seconds between two samples of it
    markedly: float = 0.9  # largest ratio of memory or utilisation that counts as markedly reduced
    slightly: float = 1.5  # largest ratio of times that counts as slightly above
    matching: float = 1.1  # largest ratio of times, either way, that counts as a match


Contender = tuple[Mapping[str, Any], Callable[[], object]]
"""What tells it from the others (family and order), and one meta-gradient of it."""


def contenders(settings: ConsumptionSettings, shots: int) -> list[Contender]:
    """Everyone, on the same network and tasks."""
    device = torch.device(settings.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = Conv4(settings.ways, 3, settings.filters, settings.size, "max").to(device)
    tasks, rule, num_steps = _tasks(settings, shots, device), SGD(settings.lr), settings.num_steps

    def learner(family: str, order: int | None, estimator: Estimator, link_chunk: int | None = None) -> Contender:
        made = MetaLearner(model, F.cross_entropy, rule, num_steps, estimator, task_chunk=1, link_chunk=link_chunk)
        return {"family": family, "order": order}, lambda: made.meta_gradient(tasks)

    orders = range(num_steps + 1)
    return [
        (
            {"family": KEPT, "order": None},
            lambda: graph_meta_gradient(model, F.cross_entropy, settings.lr, num_steps, tasks),
        ),
        learner(EXACT, None, Exact()),
        learner(FIRST, None, FirstOrder()),
        *(learner(TRUNCATED, order, Truncated(order)) for order in orders),
        *(learner(TOGETHER, order, Binomial(order)) for order in orders),
        *(learner(SINGLY, order, Binomial(order), 1) for order in orders[1:-1]),
    ]


def _tasks(settings: ConsumptionSettings, shots: int, device: torch.device) -> Task:
    draws = torch.Generator().manual_seed(settings.seed)

    def batch(examples: int) -> Batch:
        shape = (settings.meta_batch, settings.ways * examples, 3, settings.size, settings.size)
        targets = torch.arange(settings.ways).repeat_interleave(examples).expand(settings.meta_batch, -1)
        return Batch(torch.randn(shape, generator=draws).to(device), targets.contiguous().to(device))

    return Task(batch(shots), batch(settings.queries))
