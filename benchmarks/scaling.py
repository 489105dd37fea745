"""`scaling`: time against inner steps, and throughput against the size of the meta-batch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import figures, report
from benchmarks.contenders import REFERENCE, Contender
from benchmarks.measure import Timed, fastest_peer, measure
from benchmarks.problems import Problem
from benchmarks.speed import record
from benchmarks.workers import Machine, Team

Points = list[tuple[Problem, list[Timed]]]


def scaling(
    base: Problem,
    steps: Sequence[int],
    batches: Sequence[int],
    contenders: Sequence[Contender],
    machine: Machine,
    *,
    must: Sequence[str],
    repeats: int,
    options: dict[str, Any],
    out: Path,
    say: Callable[[str], None],
) -> None:
    """Measure at each K with the usual tasks and at each T with the usual K; write JSON and two figures.

    Raises:
        BenchmarkError: a contender failed or disagrees anywhere.
    """
    where = f"{machine.device}, {machine.threads} thread{'s' * (machine.threads != 1)}"
    with Team(machine, must, say) as team:

        def at(problem: Problem) -> tuple[Problem, list[Timed]]:
            return problem, measure(team, problem, contenders, repeats, say, **options)

        by_steps = [at(replace(base, steps=count)) for count in steps]
        by_tasks = [at(replace(base, tasks=count)) for count in batches]
        accelerator = team.worker(REFERENCE, "float64").about()["accelerator"]
    _print(f"{base.name}: median ms by inner steps, {base.tasks} tasks, {where}", by_steps, lambda p: f"K = {p.steps}")
    _print(f"{base.name}: median ms by tasks, K = {base.steps}, {where}", by_tasks, lambda p: f"T = {p.tasks}")
    report.write(
        out / "scaling.json",
        {
            **report.surroundings(machine, accelerator),
            "options": options,
            **{name: _records(points) for name, points in (("by_steps", by_steps), ("by_tasks", by_tasks))},
        },
    )
    figures.save(
        figures.against(
            f"{base.name}: {base.tasks} tasks, {where}",
            _curves(by_steps, lambda p: p.steps, lambda _, seconds: 1e3 * seconds),
            "inner steps K",
            "time of one mean meta-gradient (ms)\nmedian, 10th to 90th percentile",
        ),
        out / "scaling-steps.png",
    )
    figures.save(
        figures.against(
            f"{base.name}: K = {base.steps}, {where}",
            _curves(by_tasks, lambda p: p.tasks, lambda p, seconds: p.tasks / seconds),
            "tasks of the meta-batch",
            "throughput (tasks/s)\nmedian, 10th to 90th percentile of the time",
        ),
        out / "scaling-tasks.png",
    )
    say(f"wrote {out / 'scaling.json'}, scaling-steps.png and scaling-tasks.png")


def _records(points: Points) -> list[dict[str, Any]]:
    return [
        {"problem": problem.described(), "rows": [record(row, fastest_peer(rows)) for row in rows]}
        for problem, rows in points
    ]


def _curves(
    points: Points, place: Callable[[Problem], int], value: Callable[[Problem, float], float]
) -> dict[str, list[tuple[float, float, float, float]]]:
    curves: dict[str, list[tuple[float, float, float, float]]] = {}
    for problem, rows in points:
        for row in rows:
            values = (row.median, *row.spread)
            middle, low, high = (value(problem, seconds) for seconds in values)
            curves.setdefault(row.label, []).append((place(problem), middle, low, high))
    return curves


def _print(title: str, points: Points, name: Callable[[Problem], str]) -> None:
    labels = list(dict.fromkeys(row.label for _, rows in points for row in rows))
    cells = {(name(problem), row.label): row.median for problem, rows in points for row in rows}
    columns = [name(problem) for problem, _ in points]
    lines = [
        [label, *(report.milliseconds(cells[c, label]) if (c, label) in cells else "–" for c in columns)]
        for label in labels
    ]
    report.table(title, ["contender", *columns], lines)
