"""`precision`: how far meta-gradients in float32, TF32 and bfloat16 are from those in float64."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import agreement, report
from benchmarks.contenders import BY_NAME
from benchmarks.estimators import gradient_once
from benchmarks.problems import Problem
from benchmarks.workers import Machine, Worker

ESTIMATORS = ("Exact()", "Binomial(order=2)", "FirstOrder()")


def precision(problems: Sequence[Problem], machine: Machine, *, out: Path, say: Callable[[str], None]) -> None:
    """Measure, print, and write `precision.json`.

    Errors are of the mean meta-gradient, relative, against the same estimator in float64.

    Raises:
        BenchmarkError: metagrad failed.
    """
    names = ("float32", "tf32", "bf16") if machine.device == "cuda" else ("float32", "bf16")
    metagrad = BY_NAME["metagrad"]
    rows: list[dict[str, Any]] = []
    with Worker(metagrad, machine, "float64") as precise, Worker(metagrad, machine, "float32") as rounded:
        accelerator = rounded.about()["accelerator"]
        for problem in problems:
            for estimator in ESTIMATORS:
                say(f"{problem.name}: {estimator}")
                exact = gradient_once(precise, problem, estimator=estimator)
                errors = {
                    name: agreement.relative_error(
                        gradient_once(rounded, problem, estimator=estimator, precision=name), exact
                    )
                    for name in names
                }
                rows.append({"problem": problem.name, "estimator": estimator, "errors": errors})
    report.table(
        f"relative error of the mean meta-gradient against float64, K = {problems[0].steps}",
        ["", *names],
        [[f"{r['problem']}, {r['estimator']}", *(f"{r['errors'][name]:.2g}" for name in names)] for r in rows],
    )
    described = [problem.described() for problem in problems]
    report.write(
        out / "precision.json", {**report.surroundings(machine, accelerator), "problems": described, "rows": rows}
    )
    say(f"wrote {out / 'precision.json'}")
