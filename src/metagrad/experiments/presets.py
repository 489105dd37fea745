"""Complete experiments by name. Every number of an experiment is here and nowhere else."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from metagrad.estimators import Binomial, Exact
from metagrad.experiments.config import Experiment
from metagrad.experiments.groups import Machine, Optimizer, Testing, Validation
from metagrad.experiments.image_presets import IMAGE_PRESETS
from metagrad.experiments.options import unknown
from metagrad.experiments.own import find, import_module
from metagrad.experiments.own_problem import OwnProblem
from metagrad.experiments.problem import Problem
from metagrad.experiments.problems import OmniglotClassification, SinusoidRegression
from metagrad.rules import SGD
from metagrad.training.json_files import read_json


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
        # Plain, it overshoots after some hundred meta-steps and ends at nearly twice the error.
        estimator=Binomial(order=2, center="auto"),
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
    return _omniglot(ways=5, shots=1, queries=15, meta_steps=2000)


def omniglot_5way5shot() -> Experiment:
    """Omniglot, 5 characters with five drawings each; under an hour of 2 CPU cores."""
    return _omniglot(ways=5, shots=5, queries=15, meta_steps=2000)


def omniglot_20way1shot() -> Experiment:
    """Omniglot, 20 characters with one drawing each: hard enough to tell estimators apart."""
    return _omniglot(ways=20, shots=1, queries=5, meta_steps=5000)


def _omniglot(ways: int, shots: int, queries: int, meta_steps: int) -> Experiment:
    return Experiment(
        problem=OmniglotClassification(
            data=None,
            ways=ways,
            shots=shots,
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


def own(problem: Problem) -> Experiment:
    """Settings to begin with for a problem of the user's own, which it may be far from: exact, small and short."""
    return replace(
        sinusoid(),
        problem=problem,
        estimator=Exact(),
        meta_steps=1000,
        meta_batch=4,
        optimizer=Optimizer(name="adam", lr=1e-3, momentum=0.9, clip=None, schedule="cosine"),
        validation=Validation(every=100, tasks=100, seed=1),
        test=Testing(tasks=200, steps=10, seed=2),
        machine=Machine(
            device="auto", dtype="float32", threads=None, task_chunk=None, evaluation_chunk=10, capture="off"
        ),
    )


PRESETS: Mapping[str, Callable[[], Experiment]] = {
    "sinusoid": sinusoid,
    "omniglot-5way-1shot": omniglot_5way1shot,
    "omniglot-5way-5shot": omniglot_5way5shot,
    "omniglot-20way-1shot": omniglot_20way1shot,
    **IMAGE_PRESETS,
}
"""Presets by the name that users type."""


def chosen(preset: str | None, problem: str | None) -> Experiment:
    """The experiment of a preset, with a problem of the user's own in place of its own where one is named.

    Args:
        preset: a name, the path of a config.json, or `my_module:preset` for an `Experiment` of the user's own or a
            function that gives one; None for sinusoid, or for `own(problem)`.
        problem: `my_module:thing`.

    Raises:
        ValueError: an unknown preset, a file that is none, or nothing of that name in an imported module.
    """
    if preset is None and problem is not None:
        return own(OwnProblem(problem))
    config = _preset(preset or "sinusoid")
    return config if problem is None else replace(config, problem=OwnProblem(problem))


def _preset(preset: str) -> Experiment:
    if preset.endswith(".json"):
        values = read_json(Path(preset))
        return Experiment.from_json(values.get("config", values))
    if ":" in preset:
        import_module(preset.partition(":")[0])
        thing = find(preset)
        config = thing() if callable(thing) else thing
        if not isinstance(config, Experiment):
            raise ValueError(f"{preset} is no preset: it gives {config!r} in place of an Experiment")
        return config
    known = named(preset)
    if known is None:
        raise unknown("preset", preset, PRESETS)
    return PRESETS[known]()


def named(name: str) -> str | None:
    """The preset's name as listed, from one with other hyphens (omniglot-5way1shot); None where there is none."""
    return next((known for known in PRESETS if known.replace("-", "") == name.replace("-", "").lower()), None)
