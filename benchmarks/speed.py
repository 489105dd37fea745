"""`speed`: one mean meta-gradient, every contender, in turns."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures, report
from benchmarks.agreement import FLOAT64, float32_bound
from benchmarks.contenders import REFERENCE, Contender
from benchmarks.measure import WARM, Timed, fastest_peer, measure
from benchmarks.problems import Problem
from benchmarks.workers import Machine, Team

REPEATS = {"sinusoid": 50, "conv28": 20, "conv84": 10}


def speed(
    problems: Sequence[Problem],
    contenders: Sequence[Contender],
    machine: Machine,
    *,
    must: Sequence[str],
    repeats: int | None,
    options: dict[str, Any],
    out: Path,
    say: Callable[[str], None],
) -> None:
    """Measure, print, and write `speed-PROBLEM.json` and `.png` for each problem.

    Raises:
        BenchmarkError: a contender failed, disagrees, or cannot do what `must` says it must.
    """
    for problem in problems:
        with Team(machine, must, say) as team:
            count = REPEATS[problem.name] if repeats is None else repeats
            rows = measure(team, problem, contenders, count, say, **options)
            accelerator = team.worker(REFERENCE, "float64").about()["accelerator"]
        title = f"{problem.name}: K = {problem.steps}, {problem.tasks} task{'s' * (problem.tasks != 1)}, "
        title += f"{machine.device}, {machine.threads} thread{'s' * (machine.threads != 1)}"
        _print(title, rows)
        path = out / f"speed-{problem.name}.json"
        report.write(
            path,
            {
                **report.surroundings(machine, accelerator),
                "problem": problem.described(),
                "options": options,
                "warm_up_runs": WARM,
                "bounds": {"float64": FLOAT64, "float32": float32_bound(problem)},
                "rows": [record(row, fastest_peer(rows)) for row in rows],
            },
        )
        figure = figures.samples(title, {row.label: row.samples for row in rows})
        say(f"wrote {path} and {figures.save(figure, path.with_suffix('.png'))}")


def record(row: Timed, peer: Timed | None) -> dict[str, Any]:
    """For JSON: samples and what is read off them."""
    low, high = row.spread
    return {
        "contender": row.label,
        "median_seconds": row.median,
        "p10_seconds": low,
        "p90_seconds": high,
        "ratio_to_fastest_peer": row.median / peer.median if peer else None,
        "setup_seconds": row.setup_seconds,
        "first_call_seconds": row.first_seconds,
        "error_float64": row.error64,
        "error_float32": row.error32,
        "samples_seconds": row.samples,
    }


def _print(title: str, rows: Sequence[Timed]) -> None:
    peer = fastest_peer(rows)
    columns = ["contender", "median ms", "10–90 % ms", f"ratio to {peer.label if peer else 'peer'}"]
    columns += ["first call s", "error float64", "error float32"]
    lines: list[list[str]] = []
    for row in rows:
        low, high = row.spread
        lines.append(
            [
                row.label,
                report.milliseconds(row.median),
                f"{report.milliseconds(low)}–{report.milliseconds(high)}",
                f"{row.median / peer.median:.2f}" if peer else "–",
                f"{row.first_seconds:.2f}",
                f"{row.error64:.1e}",
                f"{row.error32:.1e}",
            ]
        )
    report.table(title, columns, lines)
