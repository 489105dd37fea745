"""`frontier`: error against rounds and products, of metagrad's estimators and of ideas beyond one center."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import torch

from benchmarks import report
from benchmarks.choosing import stages
from benchmarks.frontier_chains import LowRank
from benchmarks.frontier_figure import draw
from benchmarks.frontier_terms import Terms
from benchmarks.frontier_variants import FEW_STEPS, Case, Found, compared, kept_models
from benchmarks.workers import BenchmarkError, Machine
from metagrad import SGD, Exact
from metagrad.estimators.base import Chain
from metagrad.experiments import session
from metagrad.experiments.config import Experiment, build_learner
from metagrad.experiments.presets import PRESETS
from metagrad.inner.episode import TaskEpisode
from metagrad.inner.loop import InnerLoop
from metagrad.learner import MetaLearner
from metagrad.tasks.task import Task, map_leaves
from metagrad.training.evaluation import moved
from metagrad.tree import Tree

PROBLEMS: Mapping[str, tuple[str, float]] = {
    "sinusoid": ("sinusoid", 0.01),
    "omniglot": ("omniglot-5way-1shot", 0.1),
}
"""Preset and inner rate."""

DATA = "METAGRAD_DATA"
TASK_SEED, PROBE_SEED = 5, 6
PROBES = 4
"""Tasks of the meta-batch on which coefficients are fitted."""

KEPT_ORDER = 2
"""Order of the expansion whose products the next meta-step has."""


def frontier(
    name: str, steps: int, at: Sequence[int], tasks: int, machine: Machine, *, out: Path, say: Callable[[str], None]
) -> None:
    """Measure after each number of meta-steps in `at`, print, and write `frontier-NAME.json` and `.png`.

    Raises:
        BenchmarkError: the data are missing.
    """
    torch.set_num_threads(machine.threads)
    config = _experiment(name, steps)
    found: dict[int, list[list[Found]]] = {}
    for stage, cases in _cases(config, at, tasks):
        found[stage] = []
        for case in cases:
            with torch.no_grad():
                found[stage].append(compared(case))
            say(f"after {stage} meta-steps: task {len(found[stage])} of {tasks}")
    rows = [row for stage, results in found.items() for row in _medians(stage, results)]
    path = out / f"frontier-{name}.json"
    record = {"problem": name, "experiment": config.to_json(), "tasks": tasks, "stages": list(at), "rows": rows}
    report.write(path, {**report.surroundings(machine, machine.device), **record})
    for stage in at:
        report.table(
            f"{name}, K = {steps}, after {stage} meta-steps: median over {tasks} tasks",
            ["", "", "products", "rounds", "error", "quartiles"],
            [_told(row) for row in rows if row["meta_steps"] == stage],
        )
    drawn = draw(path.with_suffix(".png"), rows, steps, title=f"{name}, K = {steps}, {tasks} tasks")
    say(f"wrote {path} and {drawn}")


def _experiment(name: str, steps: int) -> Experiment:
    preset, rate = PROBLEMS[name]
    config = PRESETS[preset]()
    if hasattr(config.problem, "data"):
        if DATA not in os.environ:
            raise BenchmarkError(f"{name} needs data: set {DATA} to the folder that holds them, or name sinusoid")
        config = session.with_data(config, os.environ[DATA])
    chunk = None if name == "sinusoid" else 1
    return replace(
        config,
        rule=SGD(lr=rate),
        num_steps=steps,
        estimator=Exact(),
        machine=replace(config.machine, device="cpu", capture="off", task_chunk=chunk),
    )


def _cases(config: Experiment, at: Sequence[int], tasks: int) -> Iterator[tuple[int, Iterator[Case]]]:
    """At each stage, of at least 1, the tasks and what the meta-step before left behind."""
    cpu = torch.device("cpu")
    sources = config.problem.sources(cpu)
    unseen = moved(sources.test.sample(tasks, torch.Generator().manual_seed(TASK_SEED)), cpu, torch.float64)
    batch = sources.train.sample(config.meta_batch, torch.Generator().manual_seed(PROBE_SEED))
    batch = moved(batch, cpu, torch.float64)
    wanted = sorted({stage - 1 for stage in at} | set(at))
    weights: dict[int, tuple[InnerLoop, Tree]] = {}
    for step, learner in stages(config, tuple(wanted)):
        weights[step] = _double(config, learner)
        if step not in at:
            continue
        old, now = weights[step - 1], weights[step]
        with torch.no_grad():
            others = kept_models([_linearised(*old, batch, t) for t in range(config.meta_batch)], KEPT_ORDER)
            few = range(min(PROBES, config.meta_batch) if config.num_steps <= FEW_STEPS else 0)
            probes = [Terms.of(*_linearised(*now, batch, t)) for t in few]
        yield step, (_case(old, now, unseen, t, others, probes) for t in range(tasks))


def _case(
    old: tuple[InnerLoop, Tree],
    now: tuple[InnerLoop, Tree],
    tasks: Task,
    t: int,
    others: Mapping[int, LowRank],
    probes: Sequence[Terms],
) -> Case:
    with torch.no_grad():
        same = kept_models([_linearised(*old, tasks, t)], KEPT_ORDER)
        return Case(*_linearised(*now, tasks, t), others, same, probes)


def _double(config: Experiment, learner: MetaLearner) -> tuple[InnerLoop, Tree]:
    double = build_learner(replace(config, machine=replace(config.machine, dtype="float64")))
    double.load_state_dict(learner.state_dict())
    return replace(double.loop, reuse=config.num_steps), double.meta()


def _linearised(loop: InnerLoop, meta: Tree, tasks: Task, t: int) -> tuple[Chain, Tree]:
    episode = TaskEpisode(loop, meta, map_leaves(lambda leaf: leaf[t], tasks))
    return episode.chain, episode.outer()[0]


def _medians(stage: int, results: Sequence[Sequence[Found]]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for same in zip(*results, strict=True):
        errors = [one.error for one in same]
        rows.append({"meta_steps": stage, **asdict(same[0]), "error": median(errors), "errors": errors})
    return rows


def _told(row: Mapping[str, object]) -> list[str]:
    errors = torch.tensor(row["errors"], dtype=torch.float64)
    low, high = errors.quantile(torch.tensor([0.25, 0.75], dtype=torch.float64)).tolist()
    numbers = [str(row["products"]), str(row["rounds"]), f"{row['error']:.2g}", f"{low:.2g} to {high:.2g}"]
    return [str(row["family"]), str(row["label"]), *numbers]
