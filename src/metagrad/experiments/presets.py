"""Complete experiments by name. Every number of an experiment is here and nowhere else."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from metagrad.estimators import Binomial
from metagrad.experiments.config import Experiment, Machine, Optimizer, Testing, Validation
from metagrad.experiments.problems import OmniglotClassification, SinusoidRegression
from metagrad.inner.rules import SGD

BARE: Mapping[str, Mapping[str, Any]] = {
    "Truncated": {"window": 2},
    "Binomial": {"order": 2},
    "Hybrid": {"window": 4, "order": 2},
    "Split": {"window": 2},
}
"""Arguments of estimators that are named without any, as in `--estimator truncated`."""


def sinusoid() -> Experiment:
    """Regression of sine waves from 10 points, MAML's first example; needs no files and minutes of one CPU."""
    return Experiment(
        problem=SinusoidRegression(
            support=10,
            query=10,
            amplitude=(0.1, 5.0),
            phase=(0.0, math.pi),
            inputs=(-5.0, 5.0),
            hidden=(40, 40),
        ),
        rule=SGD(lr=0.01),
        num_steps=5,
        estimator=Binomial(order=2),
        adapts=(),
        proximal=None,
        meta_steps=2500,
        meta_batch=25,
        seed=0,
        checkpoint_every=250,
        optimizer=Optimizer(name="adam", lr=2e-3, momentum=0.9, clip=None, schedule="cosine"),
        validation=Validation(every=500, tasks=200, seed=1),
        test=Testing(tasks=600, steps=10, seed=2),
        # One thread: the tensors are too small to share, and on busy cores two threads wait for one another.
        machine=Machine(device="auto", dtype="float32", threads=1, task_chunk=None, evaluation_chunk=100),
    )


def omniglot_5way1shot() -> Experiment:
    """Omniglot, 5 characters with one drawing each."""
    return _omniglot(ways=5, meta_batch=16)


def omniglot_20way1shot() -> Experiment:
    """Omniglot, 20 characters with one drawing each: hard enough to tell estimators apart."""
    return _omniglot(ways=20, meta_batch=4)


def _omniglot(ways: int, meta_batch: int) -> Experiment:
    return Experiment(
        problem=OmniglotClassification(
            data=None, ways=ways, shots=1, queries=5, test_queries=15, filters=32, pooling="max", rotated=("train",)
        ),
        rule=SGD(lr=0.1),
        num_steps=5,
        estimator=Binomial(order=3),
        adapts=(),
        proximal=None,
        meta_steps=20_000,
        meta_batch=meta_batch,
        seed=0,
        checkpoint_every=200,
        optimizer=Optimizer(name="adam", lr=1e-3, momentum=0.9, clip=None, schedule="constant"),
        validation=Validation(every=500, tasks=100, seed=1),
        test=Testing(tasks=600, steps=10, seed=2),
        machine=Machine(device="auto", dtype="float32", threads=None, task_chunk=None, evaluation_chunk=10),
    )


PRESETS: Mapping[str, Callable[[], Experiment]] = {
    "sinusoid": sinusoid,
    "omniglot-5way1shot": omniglot_5way1shot,
    "omniglot-20way1shot": omniglot_20way1shot,
}
"""Presets by the name that users type."""
