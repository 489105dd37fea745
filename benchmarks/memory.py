"""`memory`: what one mean meta-gradient holds at its peak, against the number of inner steps."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import figures, report
from benchmarks.contenders import BY_NAME, Contender
from benchmarks.problems import Problem
from benchmarks.workers import LeftOutError, Machine, Worker

EXACT, TRUNCATED = "metagrad Exact", "metagrad Truncated(2)"
EACH = ", one task at a time"
RECOMPUTED = f"{EXACT}{EACH}, SquareRoot()"
CASES: tuple[tuple[str, Contender, dict[str, Any]], ...] = (
    (EXACT, BY_NAME["metagrad"], {"estimator": "Exact()"}),
    (TRUNCATED, BY_NAME["metagrad"], {"estimator": "Truncated(window=2)"}),
    (EXACT + EACH, BY_NAME["metagrad"], {"estimator": "Exact()", "task_chunk": 1}),
    (RECOMPUTED, BY_NAME["metagrad"], {"estimator": "Exact()", "task_chunk": 1, "trajectory": "SquareRoot"}),
    ("higher", BY_NAME["higher"], {}),
    ("torchopt", BY_NAME["torchopt"], {}),
    ("loop", BY_NAME["loop"], {}),
    ("jax", BY_NAME["jax"], {}),
)
STYLES: dict[str, tuple[str, str, str, float]] = {
    EXACT: ("#0072B2", "o", "-", 3.4),
    TRUNCATED: ("#009E73", "D", "-", 1.3),
    EXACT + EACH: ("#0072B2", "o", ":", 3.4),
    RECOMPUTED: ("#56B4E9", "h", "-", 1.3),
    "higher": ("#D55E00", "v", "-", 3.0),
    "torchopt": ("#CC79A7", "^", "-", 2.0),
    "loop": ("#000000", "s", "--", 1.1),
    "jax": ("#E69F00", "P", "-", 1.5),
}
MEASURES = {
    "saved": "saved for backward",
    "live": "all tensors alive (on CUDA: allocated)",
    "resident": "growth of the process",
}


@dataclass(frozen=True)
class Held:
    """Peak bytes of one run.

    Attributes:
        case: what ran.
        steps: K.
        saved: tensors that autograd holds for backward.
        trajectory: states and gradients of the inner loop that metagrad keeps, apart; None for others.
        live: all tensors at once, both of these included.
        resident: growth of the process's resident set in its first run, libraries' lazy loading included.
    """

    case: str
    steps: int
    saved: int | None
    trajectory: int | None
    live: int | None
    resident: int


def memory(base: Problem, steps: Sequence[int], machine: Machine, *, out: Path, say: Callable[[str], None]) -> None:
    """Measure each case at each K in a process of its own; print, and write `memory.json` and `.png`.

    Raises:
        BenchmarkError: a contender failed.
    """
    rows: list[Held] = []
    accelerator = "none"
    for case, contender, options in CASES:
        say(f"memory of {case}")
        try:
            for count in steps:
                with Worker(contender, machine, "float32") as worker:
                    started = worker.start(replace(base, steps=count), **options)
                    rows.append(Held(case, count, resident=int(started["resident_growth"]), **worker.memory()))
                    if contender.module != "with_jax":
                        accelerator = worker.about()["accelerator"]
        except LeftOutError as error:
            say(str(error))
    ratios = _ratios(rows, min(steps), max(steps))
    _print(base, rows, ratios)
    record = {"problem": base.described(), "ratios": ratios, "rows": [asdict(row) for row in rows]}
    report.write(out / "memory.json", {**report.surroundings(machine, accelerator), **record})
    figures.save(_figure(base, rows), out / "memory.png")
    say(f"wrote {out / 'memory.json'} and memory.png")


def _ratios(rows: Sequence[Held], few: int, many: int) -> dict[str, dict[str, float]]:
    """Of saved and of all tensors: growth from few to many steps, and metagrad over higher at many."""
    growths: dict[str, dict[str, float]] = {}
    for measure in ("saved", "live"):
        size = {(row.case, row.steps): getattr(row, measure) for row in rows if getattr(row, measure)}
        ratios: dict[str, float] = {}
        for case, _, _ in CASES:
            if (case, few) in size and few != many:
                ratios[f"{case}: K = {many} / K = {few}"] = size[case, many] / size[case, few]
        for case, contender, _ in CASES:
            if contender.module == "with_metagrad" and {(case, many), ("higher", many)} <= size.keys():
                ratios[f"{case} / higher at K = {many}"] = size[case, many] / size["higher", many]
        growths[measure] = ratios
    return growths


def _print(base: Problem, rows: Sequence[Held], ratios: dict[str, dict[str, float]]) -> None:
    report.table(
        f"{base.name}: {base.tasks} tasks, peak of one mean meta-gradient in MiB",
        ["", "K", "saved for backward", "trajectory", "all tensors", "growth of the process"],
        [
            [row.case, str(row.steps), *map(report.mebibytes, (row.saved, row.trajectory, row.live, row.resident))]
            for row in rows
        ],
    )
    report.table(
        "ratios of these",
        ["", "saved for backward", "all tensors"],
        [[name, f"{ratio:.3g}", f"{ratios['live'][name]:.3g}"] for name, ratio in ratios["saved"].items()],
    )


def _figure(base: Problem, rows: Sequence[Held]) -> figures.Figure:
    curves: list[dict[str, list[tuple[float, float]]]] = []
    for measure in MEASURES:
        panel: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            size = getattr(row, measure)
            if size:
                panel.setdefault(row.case, []).append((row.steps, size / 2**20))
        curves.append(panel)
    title = f"{base.name}: peak memory of one mean meta-gradient, {base.tasks} tasks"
    return figures.panels(title, curves, list(MEASURES.values()), "inner steps K", "peak (MiB)", STYLES)
