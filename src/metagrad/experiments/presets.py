"""Complete experiments by name. Every number of an experiment is here and nowhere else."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from metagrad.estimators import Binomial
from metagrad.experiments.config import Experiment, Machine, Optimizer, Testing, Validation
from metagrad.experiments.image_problem import Dataset, ImageClassification
from metagrad.experiments.mnist1d_problem import Mnist1dClassification
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
        machine=Machine(
            device="auto", dtype="float32", threads=1, task_chunk=None, evaluation_chunk=100, capture="auto"
        ),
    )


def omniglot_5way1shot() -> Experiment:
    """Omniglot, 5 characters with one drawing each; under half an hour of 2 CPU cores."""
    return _omniglot(ways=5, queries=15, meta_steps=2000)


def omniglot_20way1shot() -> Experiment:
    """Omniglot, 20 characters with one drawing each: hard enough to tell estimators apart."""
    return _omniglot(ways=20, queries=5, meta_steps=5000)


def _omniglot(ways: int, queries: int, meta_steps: int) -> Experiment:
    return Experiment(
        problem=OmniglotClassification(
            data=None,
            ways=ways,
            shots=1,
            queries=queries,
            test_queries=15,
            filters=32,
            pooling="max",
            rotated=("train",),
        ),
        # Small enough for the expansion at order 3: at 0.1 it overshoots early in training and learns more slowly.
        rule=SGD(lr=0.05),
        num_steps=5,
        estimator=Binomial(order=3),
        adapts=(),
        proximal=None,
        meta_steps=meta_steps,
        meta_batch=4,
        seed=0,
        checkpoint_every=100,
        optimizer=Optimizer(name="adam", lr=3e-3, momentum=0.9, clip=1.0, schedule="cosine"),
        validation=Validation(every=500, tasks=100, seed=1),
        test=Testing(tasks=600, steps=10, seed=2),
        machine=Machine(
            device="auto", dtype="float32", threads=None, task_chunk=None, evaluation_chunk=10, capture="auto"
        ),
    )


def cifar_fs_5way1shot() -> Experiment:
    """CIFAR-FS, 5 classes of CIFAR-100 with one 32×32 image each."""
    return _cifar("cifar-fs", shots=1)


def cifar_fs_5way5shot() -> Experiment:
    """CIFAR-FS, 5 classes of CIFAR-100 with five 32×32 images each."""
    return _cifar("cifar-fs", shots=5)


def fc100_5way1shot() -> Experiment:
    """FC100, 5 classes of CIFAR-100 with one 32×32 image each, from other superclasses than in training."""
    return _cifar("fc100", shots=1)


def fc100_5way5shot() -> Experiment:
    """FC100, 5 classes of CIFAR-100 with five 32×32 images each, from other superclasses than in training."""
    return _cifar("fc100", shots=5)


def _cifar(dataset: Dataset, shots: int) -> Experiment:
    """Our choice throughout, but for the statistics of the colours, which are those of MetaOptNet (Lee et al. 2019)."""
    return Experiment(
        problem=ImageClassification(
            dataset=dataset,
            data=None,
            ways=5,
            shots=shots,
            queries=15,
            test_queries=15,
            size=32,
            mean=(0.5074, 0.4867, 0.4411),
            std=(0.2675, 0.2566, 0.2763),
            filters=32,
            pooling="max",
        ),
        rule=SGD(lr=0.05),
        num_steps=5,
        estimator=Binomial(order=3),
        adapts=(),
        proximal=None,
        meta_steps=5000,
        meta_batch=4,
        seed=0,
        checkpoint_every=100,
        optimizer=Optimizer(name="adam", lr=3e-3, momentum=0.9, clip=1.0, schedule="cosine"),
        validation=Validation(every=500, tasks=100, seed=1),
        test=Testing(tasks=600, steps=10, seed=2),
        machine=Machine(
            device="auto", dtype="float32", threads=None, task_chunk=None, evaluation_chunk=10, capture="auto"
        ),
    )


def mnist1d_5way1shot() -> Experiment:
    """MNIST-1D, 5 of ten digits with one signal of 40 points each; needs no files and minutes of one CPU."""
    return _mnist1d(shots=1)


def mnist1d_5way5shot() -> Experiment:
    """MNIST-1D, 5 of ten digits with five signals of 40 points each; needs no files and minutes of one CPU."""
    return _mnist1d(shots=5)


def _mnist1d(shots: int) -> Experiment:
    """Our choice throughout, but for the signals."""
    return Experiment(
        problem=Mnist1dClassification(
            data_seed=42, ways=5, shots=shots, queries=15, test_queries=15, hidden=(100, 100)
        ),
        rule=SGD(lr=0.1),
        num_steps=5,
        estimator=Binomial(order=3),
        adapts=(),
        proximal=None,
        meta_steps=3000,
        meta_batch=8,
        seed=0,
        checkpoint_every=250,
        optimizer=Optimizer(name="adam", lr=1e-3, momentum=0.9, clip=1.0, schedule="cosine"),
        validation=Validation(every=500, tasks=200, seed=1),
        test=Testing(tasks=600, steps=10, seed=2),
        machine=Machine(
            device="auto", dtype="float32", threads=1, task_chunk=None, evaluation_chunk=100, capture="auto"
        ),
    )


PRESETS: Mapping[str, Callable[[], Experiment]] = {
    "sinusoid": sinusoid,
    "omniglot-5way1shot": omniglot_5way1shot,
    "omniglot-20way1shot": omniglot_20way1shot,
    "cifar-fs-5way-1shot": cifar_fs_5way1shot,
    "cifar-fs-5way-5shot": cifar_fs_5way5shot,
    "fc100-5way-1shot": fc100_5way1shot,
    "fc100-5way-5shot": fc100_5way5shot,
    "mnist1d-5way-1shot": mnist1d_5way1shot,
    "mnist1d-5way-5shot": mnist1d_5way5shot,
}
"""Presets by the name that users type."""
