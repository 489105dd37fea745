"""What a whole training step takes beside its meta-gradient.   python -m benchmarks.training_step sinusoid omniglot

Training as the command line does it, captured. A step is all from one report of the trainer to the next: sampling,
checks, meta-gradient, clipping, Adam, the record in the run directory; the meta-gradient is `MetaLearner.backward`
within it. Medians over steps; so the occasional probe, validation or checkpoint does not count.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from unittest import mock

import numpy as np
import torch

from metagrad.batching import MetaGradient
from metagrad.capture import keep_freed_memory
from metagrad.experiments.config import Experiment, build
from metagrad.experiments.expression import short
from metagrad.experiments.presets import omniglot_5way1shot, sinusoid
from metagrad.task import Task
from metagrad.training.evaluation import fixed_tasks
from metagrad.training.plan import Plan
from metagrad.training.progress import Silent
from metagrad.training.run_writer import RunWriter
from metagrad.training.trainer import Trainer

# name → preset, meta-steps that count
PROBLEMS = {"sinusoid": (sinusoid, 1000), "omniglot": (omniglot_5way1shot, 30)}
WARM = 5


class Clock(Silent):
    """Notes when each step was done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """Look at the clock."""
        self.times.append(time.perf_counter())

    def warned(self, text: str) -> None:
        """How right the estimator is does not matter here."""


def measure(config: Experiment, steps: int) -> tuple[float, float]:
    """Median seconds of a training step and of the meta-gradient in it."""
    learner, sources = build(config)
    optimizer = config.optimizer.build(list(learner.parameters()))
    clock = Clock()
    never = 10**9
    plan = Plan(
        meta_steps=WARM + steps,
        meta_batch=config.meta_batch,
        validate_every=never,
        checkpoint_every=never,
        clip=config.optimizer.clip,
        evaluation_chunk=config.machine.evaluation_chunk,
        probe_every=config.probe_every,
    )
    scheduler = config.optimizer.scheduler(optimizer, config.meta_steps)
    validation = fixed_tasks(sources.validation, 1, config.validation.seed)
    trainer = Trainer(learner, optimizer, scheduler, sources.train, validation, plan, config.seed, clock)
    backward = learner.backward
    inside: list[float] = []

    def timed(tasks: Task) -> MetaGradient:
        began = time.perf_counter()
        result = backward(tasks)
        inside.append(time.perf_counter() - began)
        return result

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "run"
        writer = RunWriter.create(path, config.to_json(), trainer.state(), learner.state_dict())
        with writer as run, mock.patch.object(learner, "backward", timed):
            trainer.train(run)
    return median(np.diff(clock.times)[WARM - 1 :]), median(inside[WARM:])


def main() -> None:
    """Print a row for each problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem", nargs="+", choices=PROBLEMS)
    keep_freed_memory()
    for name in parser.parse_args().problem:
        preset, steps = PROBLEMS[name]
        config = preset()
        config = replace(config, machine=replace(config.machine, capture="auto"))
        step, within = measure(config, steps)
        print(
            f"{name}, {short(config.estimator)}, {torch.get_num_threads()} threads: training step {1e3 * step:.4g} ms, "
            f"its meta-gradient {1e3 * within:.4g} ms, ratio {step / within:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
