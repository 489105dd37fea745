"""Figure, tables and findings of the study of smoothness."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from metagrad.training.evaluation import Interval
from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Finding, Listing
from metagrad_studies.smoothness.records import (
    Line,
    SmoothnessSettings,
    TrainedProblem,
    along_training,
    course,
    fitted,
    over_tasks,
)

_SEED = "#2b6ca3"
_GRADIENT = "#d1822f"


def findings(settings: SmoothnessSettings, records: Records) -> list[Finding]:
    """Along training, and over tasks at fixed weights: held if every interval is above 0, not if one is below."""
    claim = "The smoothness constant of the MAML objective grows with the norm of the meta-gradient"
    return [
        _judged(f"{claim} (along training).", along_training, settings, records, _joint),
        _judged(
            f"{claim} (over tasks, each with its own objective, at the same weights).",
            over_tasks,
            settings,
            records,
            _single,
        ),
    ]


Correlation = Callable[[SmoothnessSettings, Sequence[Record], str], Interval]
Pairs = Callable[[Sequence[Record]], tuple[list[float], list[float]]]


def _judged(
    claim: str, correlation: Correlation, settings: SmoothnessSettings, records: Records, pairs: Pairs
) -> Finding:
    found = {problem.name: correlation(settings, records, problem.name) for problem in settings.problems}
    told: list[str] = []
    for name, entry in found.items():
        line = _line(settings, records, name, pairs)
        norms, _ = pairs([r for r in records if r["problem"] == name])
        told.append(
            f"{name}: rank correlation {entry.mean:.2f} ± {entry.half_width:.2f} over {len(settings.seeds)} seeds, "
            f"fit ‖∇²F‖ = {_words(line)} (explains {line.explained:.0%}), ‖∇F‖ spans a factor of "
            f"{max(norms) / min(norms):.2g}"
        )
    above = all(entry.mean - entry.half_width > 0 for entry in found.values())
    below = any(entry.mean + entry.half_width < 0 for entry in found.values())
    held = True if above else False if below else None
    undecided = " Some interval holds 0, so these records cannot tell." if held is None else ""
    return Finding(claim, f"{'; '.join(told)}.{undecided}", held)


def _line(settings: SmoothnessSettings, records: Records, problem: str, pairs: Pairs) -> Line:
    return fitted(*pairs([r for seed in settings.seeds for r in course(records, problem, seed)]))


def _words(line: Line) -> str:
    return f"{line.constant:.3g} {'−' if line.slope < 0 else '+'} {abs(line.slope):.3g}·‖∇F‖"


def _joint(records: Records) -> tuple[list[float], list[float]]:
    return [r["gradient_norm"] for r in records], [r["smoothness"] for r in records]


def _single(records: Records) -> tuple[list[float], list[float]]:
    norms, sizes = ([v for r in records for v in r[name]] for name in ("task_gradient_norms", "task_smoothness"))
    return norms, sizes


def listings(settings: SmoothnessSettings, records: Records) -> list[Listing]:
    """Means over seeds at every point of training."""
    found: list[Listing] = []
    for problem in settings.problems:
        rows: list[tuple[str, ...]] = []
        for point in problem.points:
            here = [r for r in records if (r["problem"], r["meta_step"]) == (problem.name, point)]
            means = [sum(r[name] for r in here) / len(here) for name in ("loss", "gradient_norm", "smoothness", "low")]
            rows.append((str(point), *(f"{value:.3g}" for value in means)))
        found.append(
            Listing(
                f"{problem.name}: the meta-objective along training, means over {len(settings.seeds)} seeds",
                ("meta-steps", "F", "‖∇F‖", "‖∇²F‖", "smallest eigenvalue of ∇²F"),
                tuple(rows),
            )
        )
    return found


def figure(settings: SmoothnessSettings, records: Records) -> Figure:
    """A row a problem: along training, one against the other, and over tasks."""
    figure = Figure(figsize=(13, 3.7 * len(settings.problems)), layout="constrained")
    grid = figure.subplots(len(settings.problems), 3, squeeze=False)
    for (course_axes, joint_axes, single_axes), problem in zip(grid, settings.problems, strict=True):
        _along(course_axes, settings, records, problem)
        mine = [r for r in records if r["problem"] == problem.name]
        _scatter(joint_axes, settings, mine, _joint, problem, "the mean objective, along training", 18)
        _scatter(single_axes, settings, mine, _single, problem, "single tasks, all points and seeds", 4)
        single_axes.set_xscale("log")
        single_axes.set_yscale("log")
        _log(single_axes.xaxis)
        _log(single_axes.yaxis)
    return figure


def _along(axes: Axes, settings: SmoothnessSettings, records: Records, problem: TrainedProblem) -> None:
    for seed in settings.seeds:
        points = course(records, problem.name, seed)
        first = seed == settings.seeds[0]
        at = [r["meta_step"] for r in points]
        for name, color, label in (("smoothness", _SEED, "‖∇²F‖"), ("gradient_norm", _GRADIENT, "‖∇F‖")):
            axes.plot(at, [r[name] for r in points], color=color, lw=1, alpha=0.8, label=label if first else None)
    axes.set_xscale("symlog", linthresh=max(problem.points[1], 1))
    axes.set_xticks(problem.points, [f"{point}" for point in problem.points])
    axes.minorticks_off()
    axes.set_yscale("log")
    _log(axes.yaxis)
    axes.set_xlabel("meta-steps")
    axes.set_ylabel(f"{problem.name}\nnorms, a line a seed")
    axes.set_title("along training", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _scatter(
    axes: Axes,
    settings: SmoothnessSettings,
    records: Records,
    pairs: Pairs,
    problem: TrainedProblem,
    title: str,
    size: float,
) -> None:
    norms, sizes = pairs(records)
    axes.scatter(norms, sizes, s=size, color=_SEED, alpha=0.5, linewidths=0)
    line = _line(settings, records, problem.name, pairs)
    ends = [min(norms) * (max(norms) / min(norms)) ** (i / 50) for i in range(51)]
    fit = [line.constant + line.slope * x for x in ends]
    shown = [(x, y) for x, y in zip(ends, fit, strict=True) if y >= min(sizes) / 2]
    axes.plot(*zip(*shown, strict=True), color="0.3", lw=1, label=_words(line))
    axes.set_xlabel("‖∇F‖")
    axes.set_ylabel("‖∇²F‖ (spectral)")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _log(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 of each decade of a logarithmic axis, whose span may be less than one."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())
