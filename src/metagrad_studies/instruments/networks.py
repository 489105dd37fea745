"""Networks of the presets, trained with Exact inside a cell, and as they are after a number of meta-steps."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from metagrad.capture import Mode
from metagrad.estimators import Exact
from metagrad.experiments import session
from metagrad.experiments.config import Experiment, build_learner
from metagrad.experiments.presets import PRESETS
from metagrad.inner.loop import InnerLoop
from metagrad.training.run import Run
from metagrad.tree import Tree
from metagrad_studies.core.study import Bench
from metagrad_studies.instruments.training import sized, train, with_data


def with_exact(name: str, capture: Mode) -> Experiment:
    """A preset as it is, but trained with Exact at a constant rate, so that a shorter run is the start of a longer."""
    config = PRESETS[name]()
    return replace(
        config,
        estimator=Exact(),
        optimizer=replace(config.optimizer, schedule="constant"),
        machine=replace(config.machine, capture=capture),
        probe_every=None,  # of Exact there is nothing to probe
    )


def present(name: str, data: str) -> bool:
    """Whether a directory of data has what a preset reads."""
    with suppress(ValueError):
        require(name, data)
        return True
    return False


def require(name: str, data: str | None) -> None:
    """ValueError that says what a preset misses, if it does."""
    if data is None:
        raise ValueError(f"{name} needs a directory of data; name it with --data DIR")
    session.with_data(PRESETS[name](), data).problem.sources(torch.device("cpu"))


def at_stage(experiment: Mapping[str, Any], meta_steps: int, bench: Bench) -> Experiment:
    """An experiment, as config.json holds it, of that length, with the bench's data."""
    config = Experiment.from_json(experiment)
    # Validated once, at the end and on next to nothing: only the last weights are looked at.
    config = sized(config, meta_steps=meta_steps, validation_tasks=1, test_tasks=2, seed=config.seed)
    config = replace(config, validation=replace(config.validation, every=max(meta_steps, 1)))
    return with_data(config, bench)


def trained(config: Experiment, bench: Bench) -> tuple[InnerLoop, Tree]:
    """The inner loop and the weights in float64, after training in the cell's directory or going on with it."""
    train(config, bench)
    precise = replace(config.machine, dtype="float64", precision="float32", capture="off")
    learner = build_learner(replace(config, machine=precise))
    learner.load_state_dict(Run(bench.directory / "run").weights("last"))
    return learner.loop, learner.meta()
