"""Agree, then time in turns: one burst of each contender per round, so that whatever drifts hits all alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import agreement
from benchmarks.contenders import PEERS, REFERENCE, Contender
from benchmarks.problems import Array, Problem
from benchmarks.workers import Team, Worker

# Threads of the run before may still spin, waiting for more work.
PAUSE = 0.02
WARM = 2


@dataclass(frozen=True)
class Timed:
    """What was measured of one contender on one problem.

    Attributes:
        label: the contender.
        samples: seconds of a run, one mean for each burst.
        setup_seconds: making the model and the tasks.
        first_seconds: the first run, with whatever is compiled on the way.
        error64: relative error of its meta-gradient in float64.
        error32: the same in float32, as timed.
    """

    label: str
    samples: list[float]
    setup_seconds: float
    first_seconds: float
    error64: float
    error32: float

    @property
    def median(self) -> float:
        """Seconds."""
        return float(np.median(self.samples))

    @property
    def spread(self) -> tuple[float, float]:
        """10th and 90th percentile, seconds."""
        low, high = np.percentile(self.samples, [10, 90])
        return float(low), float(high)


def measure(
    team: Team,
    problem: Problem,
    contenders: Sequence[Contender],
    repeats: int,
    say: Callable[[str], None],
    **options: Any,
) -> list[Timed]:
    """Everything about `contenders` on one problem; `options` go to metagrad.

    Raises:
        BenchmarkError: a contender failed, or disagrees.
    """
    what = f"{problem.name}, K = {problem.steps}, {problem.tasks} task{'s' * (problem.tasks != 1)}"
    say(f"{what}: do all agree in float64?")
    reference = _once(team.worker(REFERENCE, "float64"), problem)

    def error64(contender: Contender) -> float:
        worker = team.worker(contender, "float64")
        return agreement.relative_error(_once(worker, problem, **_for(contender, options)), reference)

    errors64 = team.able(contenders, error64)
    agreement.require(errors64, agreement.FLOAT64, f"{what} in float64")
    able = [contender for contender in contenders if contender.label in errors64]
    say(f"{what}: set-up and first call in float32")
    workers = {contender.label: team.worker(contender, "float32") for contender in able}
    starts = {c.label: workers[c.label].start(problem, **_for(c, options)) for c in able}
    errors32 = {label: agreement.relative_error(worker.gradient(), reference) for label, worker in workers.items()}
    agreement.require(errors32, agreement.float32_bound(problem), f"{what} in float32")
    samples = in_turns({label: worker.time for label, worker in workers.items()}, repeats, what, say)
    for worker in workers.values():
        worker.stop()
    return [
        Timed(
            label,
            samples[label],
            starts[label]["setup_seconds"],
            starts[label]["first_seconds"],
            errors64[label],
            errors32[label],
        )
        for label in workers
    ]


def in_turns(
    clocks: dict[str, Callable[[], float]], repeats: int, what: str, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Label → seconds of `repeats` runs, after `WARM` that do not count."""
    samples: dict[str, list[float]] = {label: [] for label in clocks}
    for turn in range(-WARM, repeats):
        if turn >= 0 and (turn == 0 or (turn + 1) % max(1, repeats // 5) == 0):
            say(f"{what}: round {turn + 1} of {repeats}")
        for label, clock in clocks.items():
            time.sleep(PAUSE)
            seconds = clock()
            if turn >= 0:
                samples[label].append(seconds)
    return samples


def fastest_peer(rows: Sequence[Timed]) -> Timed | None:
    """The faster of higher and TorchOpt by the median; None where neither took part."""
    return min((row for row in rows if row.label in PEERS), key=lambda row: row.median, default=None)


def _once(worker: Worker, problem: Problem, **options: Any) -> Array:
    worker.start(problem, **options)
    gradient = worker.gradient()
    worker.stop()
    return gradient


def _for(contender: Contender, options: dict[str, Any]) -> dict[str, Any]:
    return options if contender.module == "with_metagrad" else {}
