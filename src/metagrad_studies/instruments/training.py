"""Training inside a study: one experiment a cell, trained or continued, tested on tasks that all cells share."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import float64, tensor

from metagrad import Exact, InnerLoop
from metagrad.capture import Mode
from metagrad.experiments import session
from metagrad.experiments.config import Experiment, build_learner
from metagrad.experiments.presets import PRESETS
from metagrad.training import Diverged, HeldOut, Interval, Run, interval
from metagrad.tree import Tree
from metagrad_studies.core import Bench, Record, Records
from metagrad_studies.core.verdicts import over_seeds_and_tasks


def train(config: Experiment, bench: Bench) -> None:
    """Train in the cell's directory, or go on where a run there stopped.

    Raises:
        Diverged: a loss or meta-gradient was not finite; what was best before can still be tested.
        ValueError: missing data.
    """
    config, path = with_data(config, bench), bench.directory / "run"
    session.apply_threads(config)
    if path.is_dir():
        session.resume(path, bench.reporter, bench.data if hasattr(config.problem, "data") else None, None)
    else:
        session.start(config, path, bench.reporter)


def diverges(config: Experiment, bench: Bench) -> bool:
    """Train as `train` does, and say whether that diverged: a result too, for the best weights before can be tested."""
    try:
        train(config, bench)
    except Diverged:
        return True
    return False


def test(config: Experiment, bench: Bench) -> HeldOut:
    """Test the best weights of the run in the cell's directory; the run keeps the result.

    Tasks of equal `test.seed` and problem are the same in every cell, so that their values can be paired.
    """
    config, run = with_data(config, bench), Run(bench.directory / "run")
    which = session.best_available(run)
    result = session.measure(config, *session.trained(config, run, which))
    session.write_test(run.path / "test.json", config, which, result)
    return result


def with_data(config: Experiment, bench: Bench) -> Experiment:
    """The experiment with its data where the bench has them; as it is where it reads none."""
    if bench.data is not None and hasattr(config.problem, "data"):
        return session.with_data(config, bench.data)
    return config


def tested(result: HeldOut, name: str, steps: int) -> dict[str, Any]:
    """For a record: mean, 95 % half width and the value of every task, after `steps` inner steps."""
    column = result.values[name][:, steps]
    entry = interval(column)
    return {name: entry.mean, f"{name}_half_width_95": entry.half_width, f"{name}_tasks": column.tolist()}


def pooled(records: Records, name: str) -> Interval:
    """Mean over seeds and tasks of what `tested` recorded as `name`, one record a seed, with its 95 % interval."""
    return over_seeds_and_tasks([tensor(record[f"{name}_tasks"], dtype=float64) for record in records])


def pooled_difference(first: Sequence[Record], second: Sequence[Record], name: str) -> Interval:
    """Mean of first minus second, paired by seed and task, with its 95 % interval.

    Raises:
        ValueError: the two do not have the same seeds, or not the same number of tasks.
    """
    minuend, subtrahend = ({record["seed"]: record for record in records} for records in (first, second))
    if set(minuend) != set(subtrahend) or len(first) != len(second):
        raise ValueError(f"seeds {sorted(minuend)} cannot be paired with seeds {sorted(subtrahend)}")
    pairs = [[tensor(each[seed][f"{name}_tasks"], dtype=float64) for each in (minuend, subtrahend)] for seed in minuend]
    return over_seeds_and_tasks([one - other for one, other in pairs])


def sized(config: Experiment, *, meta_steps: int, validation_tasks: int, test_tasks: int, seed: int) -> Experiment:
    """The experiment at another length; `seed` is of weights and training tasks, the others stay.

    Validation happens some ten times, as in early stopping.
    """
    return replace(
        config,
        meta_steps=meta_steps,
        seed=seed,
        checkpoint_every=max(1, meta_steps // 10),
        validation=replace(config.validation, every=max(1, meta_steps // 10), tasks=validation_tasks),
        test=replace(config.test, tasks=test_tasks),
    )


def with_exact(name: str, capture: Mode) -> Experiment:
    """A preset as it is, but trained with Exact at a constant rate, so that a shorter run is the start of a longer."""
    config = PRESETS[name]()
    constant, machine = replace(config.optimizer, schedule="constant"), replace(config.machine, capture=capture)
    return replace(config, estimator=Exact(), optimizer=constant, machine=machine, probe_every=None)


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
