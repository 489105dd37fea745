"""`estimators`: how far from exact each estimator is for the time it takes, on the sinusoid."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import agreement, figures, report
from benchmarks.contenders import BY_NAME, REFERENCE
from benchmarks.measure import in_turns
from benchmarks.problems import Array, Problem
from benchmarks.workers import Machine, Team, Worker
from metagrad import Exact
from metagrad.estimators import Family, families
from metagrad.experiments.expression import short

PROXIMAL = 2.0
SIZES = range(1, 5)
LEFT_OUT = ("Hybrid", "FiniteDifference", "UnanchoredImplicit")
FAMILIES = [family for family in families.families() if family.estimates != "direction" and family.name not in LEFT_OUT]


@dataclass(frozen=True)
class Candidate:
    """An estimator as metagrad's command line writes it, and where it belongs in the figure."""

    text: str
    family: Family
    size: int | None = None
    proximal: float | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What the contender wants to know."""
        return {"estimator": self.text, "proximal": self.proximal}


CANDIDATES = tuple(
    Candidate(short(member), family, family.size_of(member), PROXIMAL if family.needs else None)
    for family in FAMILIES
    for member in family.of_size(SIZES.stop)
)


def estimators(
    problem: Problem, machine: Machine, *, capture: str, repeats: int, out: Path, say: Callable[[str], None]
) -> None:
    """Measure, print, and write `estimators.json` and `.png`.

    Errors are in float64, relative to Exact on the same problem: of each task's meta-gradient, and of their mean, in
    which the tasks with the largest gradients count most. Implicit needs a proximal term, and so has its own Exact.
    Reptile is left out: its direction is no gradient.

    Raises:
        BenchmarkError: metagrad failed, or Exact disagrees with the plain loop.
    """
    contender = BY_NAME["metagrad" if capture == "off" else f"metagrad-{capture}"]
    with Team(machine, [contender.label], say) as team:
        reference = gradient_once(team.worker(REFERENCE, "float64"), problem)
        accelerator = team.worker(REFERENCE, "float64").about()["accelerator"]
        precise, timed = team.worker(BY_NAME["metagrad"], "float64"), team.worker(contender, "float32")
        # Errors do not depend on the capture mode, and without one nothing has to be compiled for each task.
        say("errors in float64")
        exact = {
            proximal: gradient_once(precise, problem, estimator="Exact()", proximal=proximal)
            for proximal in (None, PROXIMAL)
        }
        apart = {"Exact()": agreement.relative_error(exact[None], reference)}
        agreement.require(apart, agreement.FLOAT64, f"{problem.name}, K = {problem.steps} in float64")
        errors = {
            c.text: agreement.relative_error(gradient_once(precise, problem, **c.options), exact[c.proximal])
            for c in CANDIDATES
        }
        by_task = _errors_by_task(precise, problem, say)
        say("set-up in float32")
        starts = {c.text: timed.start(problem, label=c.text, **c.options) for c in CANDIDATES}
        rounded = agreement.relative_error(timed.gradient("Exact()"), reference)
        bound = agreement.float32_bound(problem)
        agreement.require({"Exact()": rounded}, bound, f"{problem.name}, K = {problem.steps} in float32")
        clocks = {c.text: (lambda text=c.text: timed.time(text)) for c in CANDIDATES}
        samples = in_turns(clocks, repeats, f"capture {capture}", say)
    medians = {text: float(np.median(seconds)) for text, seconds in samples.items()}
    # Within a round, since the machine's clock may be another one in the next.
    ratios = {
        n: float(np.median(np.divide(samples[f"Binomial(order={n})"], samples[f"Truncated(window={n})"])))
        for n in SIZES
    }
    _print(problem, capture, samples, errors, by_task, starts)
    report.table(
        f"time of Binomial(order=L) / time of Truncated(window=L), capture {capture}",
        ["", *(f"L = {n}" for n in SIZES)],
        [["median of the rounds' ratios", *(f"{ratios[n]:.2f}" for n in SIZES)]],
    )
    path = out / ("estimators.json" if capture == "off" else f"estimators-{capture}.json")
    rows = [
        {
            "estimator": c.text,
            "proximal": c.proximal,
            "error_of_mean": errors[c.text],
            "errors_by_task": by_task[c.text],
            "median_seconds": medians[c.text],
            "first_call_seconds": starts[c.text]["first_seconds"],
            "samples_seconds": samples[c.text],
        }
        for c in CANDIDATES
    ]
    record = {"problem": problem.described(), "capture": capture, "binomial_over_truncated": ratios, "rows": rows}
    report.write(path, {**report.surroundings(machine, accelerator), **record})
    drawn = figures.save(_figure(problem, capture, machine, medians, by_task), path.with_suffix(".png"))
    say(f"wrote {path} and {drawn}")


def gradient_once(worker: Worker, problem: Problem, **options: Any) -> Array:
    """The meta-gradient of a problem in a set-up that is dropped afterwards."""
    worker.start(problem, label="once", **options)
    gradient = worker.gradient("once")
    worker.stop("once")
    return gradient


def _errors_by_task(worker: Worker, problem: Problem, say: Callable[[str], None]) -> dict[str, list[float]]:
    errors: dict[str, list[float]] = {candidate.text: [] for candidate in CANDIDATES}
    for t in range(problem.tasks):
        if t % 5 == 0:
            say(f"errors in float64: task {t + 1} of {problem.tasks}")
        alone = replace(problem, first=problem.first + t, tasks=1)
        exact = {p: gradient_once(worker, alone, estimator="Exact()", proximal=p) for p in (None, PROXIMAL)}
        for c in CANDIDATES:
            error = agreement.relative_error(gradient_once(worker, alone, **c.options), exact[c.proximal])
            errors[c.text].append(error)
    return errors


def _print(
    problem: Problem,
    capture: str,
    samples: dict[str, list[float]],
    errors: dict[str, float],
    by_task: dict[str, list[float]],
    starts: dict[str, dict[str, float]],
) -> None:
    lines: list[list[str]] = []
    for candidate in CANDIDATES:
        low, middle, high = np.percentile(samples[candidate.text], [10, 50, 90])
        name = candidate.text if candidate.proximal is None else f"{candidate.text}, proximal={candidate.proximal:g}"
        spread = f"{report.milliseconds(low)}–{report.milliseconds(high)}"
        first = f"{starts[candidate.text]['first_seconds']:.2f}"
        typical = float(np.median(by_task[candidate.text]))
        lines.append(
            [name, f"{typical:.2g}", f"{errors[candidate.text]:.2g}", report.milliseconds(middle), spread, first]
        )
    report.table(
        f"{problem.name}: K = {problem.steps}, {problem.tasks} tasks, capture {capture}",
        ["estimator", "error, median task", "error of the mean", "median ms", "10–90 % ms", "first call s"],
        lines,
    )


def _figure(
    problem: Problem, capture: str, machine: Machine, medians: dict[str, float], by_task: dict[str, list[float]]
) -> figures.Figure:
    figure, axes = figures.new(8.0, 5.0)
    axes.set_yscale("log")
    for family in FAMILIES:
        members = [c for c in CANDIDATES if c.family is family]
        if not members:
            continue
        xs = [1e3 * medians[c.text] for c in members]
        low, ys, high = np.percentile([by_task[c.text] for c in members], [25, 50, 75], axis=1)
        if family.usual == Exact():
            axes.axvline(xs[0], color=family.color, linestyle="--", linewidth=1.2, label="Exact (error 0)")
            continue
        look = {"color": family.color, "marker": family.marker, "markersize": 6, "linewidth": 1, "alpha": 0.9}
        axes.errorbar(xs, ys, yerr=[ys - low, high - ys], label=family.label, elinewidth=0.8, **look)
        for candidate, x, y in zip(members, xs, ys, strict=True):
            if candidate.size is not None:
                place = {"xytext": (6, 4), "textcoords": "offset points", "color": family.color, "fontsize": 9}
                axes.annotate(str(candidate.size), (x, y), **place)
    axes.set_xlim(left=0)
    axes.set_xlabel("time of one mean meta-gradient (ms, median)")
    axes.set_ylabel("relative error of one task's meta-gradient\n(median and quartiles over tasks)")
    title = f"{problem.name}: K = {problem.steps}, {problem.tasks} tasks, capture {capture}, {machine.device}, "
    axes.set_title(f"{title}{machine.threads} thread{'s' * (machine.threads != 1)}", fontsize=10, loc="left")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure
