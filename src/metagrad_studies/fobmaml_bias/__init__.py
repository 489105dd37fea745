"""FO-B-MAML: how the bias of the finite-difference meta-gradient falls with the precision of the inner solver."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad.experiments.axes import grid
from metagrad.training import Interval, interval
from metagrad_studies.core import Bench, Cell, Finding, Listing, Record, Records, Request, Study, listing
from metagrad_studies.core.plots import SIDES, label, legend, panels
from metagrad_studies.core.verdicts import written
from metagrad_studies.fobmaml_bias.solvers import BiasSettings, Logistic, alike, apart

_RATES = {"forward": 1 / 2, "symmetric": 2 / 3, "fourth": 4 / 5}
_CLAIMS = {
    "forward": "The bias of the forward estimator is of the order δ^{1/2} in the solver's precision δ.",
    "symmetric": "The symmetric estimator achieves an improved bias rate, δ^{2/3}.",
    "fourth": "Ours, not the paper's: a fourth-order scheme goes on to δ^{4/5}.",
}
_SOLVERS = ("apart", "alike")


class Bias(Study[BiasSettings]):
    """Bias against precision, for solves that err apart (as the theory allows) and alike (as the package does them)."""

    name: ClassVar[str] = "fobmaml-bias"
    tiny: ClassVar[bool] = True
    title: ClassVar[str] = "Bias of the finite-difference meta-gradient against the precision of the inner solver"
    source: ClassVar[str] = "FO-B-MAML (Chayti and Jaggi, arXiv 2409.03682), the rate O(δ^{2/3}) of its symmetric form"
    tiny: ClassVar[bool] = True
    choices: ClassVar[tuple[str, ...]] = (
        "The paper does not publish its synthetic problem in detail. Ours is logistic regression with a proximal "
        "term, solved to rounding by Newton's method in float64, so that the exact meta-gradient is known.",
        "δ is the distance of an inner solution to the true one, ‖φ̃ − φ*‖. Solves that err *apart* end at the true "
        "solution plus δ times a unit vector of random direction, drawn anew for each solve: the theory allows that. "
        "Solves that err *alike* are gradient descent from the same start with the same number of steps, as "
        "`FiniteDifference` does them; δ is what they leave unsolved at ν = 0.",
        "The error is relative: root mean square over draws, least over the nudge ν. A slope is fitted to each task's "
        "errors in log-log; its interval is over tasks. The fourth-order scheme is ours.",
    )

    def settings(self, request: Request) -> BiasSettings:
        full = request.scale == "full"
        dimension, examples = (50, 50) if full else (8, 10)
        tasks, draws = (200, 100) if full else (30, 30)
        return BiasSettings(tasks=tasks, dimension=dimension, examples=examples, draws=draws)

    def cells(self, settings: BiasSettings) -> Sequence[Cell]:
        return [
            Cell(f"{sides}-{solver}", {"sides": sides, "solver": solver}) for solver in _SOLVERS for sides in _RATES
        ]

    def measure(self, settings: BiasSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """A record a precision, or a number of steps: errors over the nudge, and the best of each task."""
        draws = torch.Generator().manual_seed(settings.seed)
        problem = Logistic.draw(settings.tasks, settings.dimension, settings.examples, settings.strength, draws)
        by_solver = {"apart": (settings.nudges, apart), "alike": (settings.nudges_alike, alike)}
        nudges, measured = by_solver[cell.values["solver"]]
        return [
            {
                **about,
                "precisions": precisions.tolist(),
                "precision": precisions.log().mean().exp().item(),
                "best_errors": errors.amin(0).tolist(),
                "best_error": errors.amin(0).log().mean().exp().item(),
                "best_nudge": nudges[int(errors.log().mean(1).argmin())],
                "errors": errors.log().mean(1).exp().tolist(),
            }
            for about, precisions, errors in measured(settings, problem, cell.values["sides"])
        ]

    def figure(self, settings: BiasSettings, records: Records) -> Figure:
        figure, [(best, over_nudge)] = panels(1, 2, 11.5, 4.6)
        _draw_best(best, records)
        for sides, color in SIDES.items():
            line = records.where(sides=sides, solver="apart")
            for record, style in zip((line[0], line[len(line) // 2], line[-1]), ("-", "--", ":"), strict=True):
                # One label a precision: the colours are explained on the left.
                words = f"δ = {record['precision']:.0e}" if sides == "symmetric" else None
                over_nudge.plot(settings.nudges, record["errors"], color=color, linestyle=style, label=words)
        title = "solves that err apart: a nudge can be too small or too large"
        label(over_nudge, "nudge ν", "relative error of the meta-gradient", title, log="xy")
        for axes in (best, over_nudge):
            grid(axes)
            legend(axes)
        over_nudge.set_ylim(top=1)
        return figure

    def listings(self, settings: BiasSettings, records: Records) -> Sequence[Listing]:
        slopes = [
            (sides, solver, written(_slope(records, sides, solver), 3, 1.0), f"{_RATES[sides]:.3f}")
            for solver in _SOLVERS
            for sides in _RATES
        ]
        rows = [
            (r["sides"], r["solver"], f"{r['precision']:.1e}", f"{r['best_error']:.2e}", f"{r['best_nudge']:.1e}")
            for r in records
        ]
        return [
            listing("Slope of log error in log δ", ("scheme", "solves err", "measured, 95 %", "rate"), slopes),
            listing(
                "Least error over the nudge (geometric means over tasks)",
                ("scheme", "solves err", "δ", "relative error", "best ν"),
                rows,
            ),
        ]

    def findings(self, settings: BiasSettings, records: Records) -> Sequence[Finding]:
        precisions = f"δ from {min(settings.precisions):.0e} to {max(settings.precisions):.0e}"
        rates: list[Finding] = []
        for sides, rate in _RATES.items():
            slope = _slope(records, sides, "apart")
            measured = f"Slope {written(slope, 3, 1.0)}, {precisions}, {settings.tasks} tasks, solves that err apart"
            held = abs(slope.mean - rate) <= settings.tolerance
            text = f"{measured}; held where within {settings.tolerance:g} of {rate:.3f}."
            rates.append(Finding(_CLAIMS[sides], text, held))
        slopes = {sides: _slope(records, sides, "alike") for sides in _RATES}
        return [
            *rates,
            Finding(
                "The rates are upper bounds: no solver of precision δ does worse.",
                "Solves from the same start with the same number of steps err alike, and their errors cancel: slopes "
                f"{', '.join(f'{written(slope, 3, 1.0)} ({sides})' for sides, slope in slopes.items())}.",
                all(slope.mean + slope.half_width >= _RATES[sides] for sides, slope in slopes.items()),
            ),
        ]


def _slope(records: Records, sides: str, solver: str) -> Interval:
    """Least squares in log-log for each task, then the mean over tasks with its interval."""
    line = records.where(sides=sides, solver=solver)
    x, y = (torch.tensor(line.column(f), dtype=torch.float64).log() for f in ("precisions", "best_errors"))
    x, y = x - x.mean(0), y - y.mean(0)
    return interval((x * y).sum(0) / x.square().sum(0))


def _draw_best(axes: Axes, records: Records) -> None:
    for sides, color in SIDES.items():
        for solver, marker, style in (("apart", "o", "-"), ("alike", "x", "--")):
            line = records.where(sides=sides, solver=solver)
            look: dict[str, Any] = {"color": color, "marker": marker, "linestyle": style, "markersize": 4}
            words = f"{sides}, err {solver}: slope {_slope(records, sides, solver).mean:.2f}"
            axes.plot(line.column("precision"), line.column("best_error"), label=words, **look)
    precision, error = "precision of the inner solver δ = ‖φ̃ − φ*‖", "relative error of the meta-gradient, best nudge"
    label(axes, precision, error, "rates ½, ⅔ and ⅘ where solves err apart", log="xy")


STUDY = Bias()
