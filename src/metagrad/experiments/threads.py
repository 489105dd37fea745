"""How many CPU threads an experiment gets: one where its tensors are too small to share.

Threads that share a small operation wait for one another. On busy cores that takes up to some ten milliseconds an
operation, a thousand times the operation itself; on idle ones there is next to nothing to gain.
"""

import contextlib
import logging
import os
from collections.abc import Generator
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from metagrad.experiments.config import Experiment, build_learner
from metagrad.task import TaskSource
from metagrad.training.evaluation import fixed_tasks

SMALL = 1e8
"""Multiplications and additions of one pass through the model with a meta-batch: fewer take one core some 3 ms."""

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_AT_IMPORT = torch.get_num_threads()


def with_threads(config: Experiment, source: TaskSource) -> Experiment:
    """The experiment with a number of threads: its own, else one where it is small, else torch's or the user's.

    Where the user chose more than one for a small experiment it stays, and a note says so.

    Args:
        config: the experiment.
        source: its training tasks.
    """
    if config.machine.threads is not None:
        return config
    threads = torch.get_num_threads()
    if threads > 1 and config.machine.torch_device().type == "cpu" and operations(config, source) < SMALL:
        threads = one_unless_chosen()
    return replace(config, machine=replace(config.machine, threads=threads))


def one_unless_chosen() -> int:
    """One thread for small tensors, or what the user chose, with a note."""
    threads, choice = torch.get_num_threads(), _choice()
    if choice is None or threads == 1:
        return 1
    logging.getLogger("metagrad.experiments").info(
        f"{choice} gives {threads} threads to tensors that are too small to share: where cores are busy that takes up "
        "to a hundred times as long as one thread does"
    )
    return threads


def operations(config: Experiment, source: TaskSource) -> float:
    """Multiplications and additions of one pass through the model with the query sets of a meta-batch."""
    learner = build_learner(replace(config, machine=replace(config.machine, capture="off")))
    (task,) = fixed_tasks(source, 1, config.seed)
    task = task.to(config.machine.torch_device(), config.machine.torch_dtype())
    learner.evaluate(task, 0)  # the looks that are taken once are not counted
    with FlopCounterMode(display=False) as counter:
        learner.evaluate(task, 0)
    return counter.get_total_flops() * (config.machine.task_chunk or config.meta_batch)


@contextlib.contextmanager
def running_on(threads: int | None) -> Generator[None]:
    """Let torch use so many threads in here; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _choice() -> str | None:
    """What the user did to choose a number of threads, as typed; None for nothing."""
    for name in _VARIABLES:
        if os.environ.get(name):
            return f"{name}={os.environ[name]}"
    threads = torch.get_num_threads()
    return None if threads == _AT_IMPORT else f"torch.set_num_threads({threads})"
