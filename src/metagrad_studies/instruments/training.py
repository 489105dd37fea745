"""Training inside a study: one experiment a cell, trained or continued, tested on tasks that all cells share."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import float64, tensor

from metagrad.experiments import session
from metagrad.experiments.config import Experiment
from metagrad.training.evaluation import HeldOut, Interval, interval
from metagrad.training.run import Run
from metagrad.training.trainer import Diverged
from metagrad_studies.core.intervals import over_seeds_and_tasks
from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Bench


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
    return over_seeds_and_tasks(
        [
            tensor(minuend[seed][f"{name}_tasks"], dtype=float64)
            - tensor(subtrahend[seed][f"{name}_tasks"], dtype=float64)
            for seed in minuend
        ]
    )


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
