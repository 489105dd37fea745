"""FO-B-MAML: how the bias of the finite-difference meta-gradient falls with the precision of the inner solver."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad.experiments.axes import grid
from metagrad.training.evaluation import Interval, interval
from metagrad_studies.core.plots import SIDES
from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Bench, Cell, Finding, Listing, Request, Study
from metagrad_studies.fobmaml_bias.logistic import Logistic
from metagrad_studies.fobmaml_bias.unsolved import BiasSettings, alike, apart

_RATES = {"forward": 1 / 2, "symmetric": 2 / 3, "fourth": 4 / 5}
_SOLVERS = ("apart", "alike")


class Bias(Study[BiasSettings]):
    """Bias against precision, for solves that err apart (as the theory allows) and alike (as the package does them)."""

    name: ClassVar[str] = "fobmaml-bias"
    tiny: ClassVar[bool] = True
    title: ClassVar[str] = "Bias of the finite-difference meta-gradient against the precision of the inner solver"
    source: ClassVar[str] = "FO-B-MAML (Chayti and Jaggi, arXiv 2409.03682), the rate O(δ^{2/3}) of its symmetric form"
    choices: ClassVar[tuple[str, ...]] = (
        "The problem is ours (the paper's synthetic one is not published in detail): logistic regression with a "
        "proximal term, solved to rounding by Newton's method in float64, where the exact meta-gradient is known.",
        "δ is the distance of an inner solution to the true one, ‖φ̃ − φ*‖. Solves that err *apart* end at the true "
        "solution plus δ times a unit vector of random direction, drawn anew for each solve: what the theory allows. "
        "Solves that err *alike* are gradient descent from the same start with the same number of steps, as "
        "`FiniteDifference` does them, and δ is what they leave unsolved at ν = 0.",
        "The error is relative, the root mean square over draws, the least over the nudge ν; a slope is fitted to each "
        "task's errors in log-log, and its interval is over tasks. The fourth-order scheme is ours.",
    )

    def settings(self, request: Request) -> BiasSettings:
        """Seconds at small size; more and larger tasks at full size."""
        full = request.scale == "full"
        return BiasSettings(
            tasks=200 if full else 30,
            dimension=50 if full else 8,
            examples=50 if full else 10,
            strength=1.0,
            seed=0,
            precisions=tuple(10 ** (-0.5 * power) for power in range(8, 21)),
            draws=100 if full else 30,
            lr=0.4,
            steps=(10, 14, 18, 22, 26),
            nudges=tuple(10 ** (power / 10) for power in range(-60, -3)),
            nudges_alike=tuple(10 ** (power / 2) for power in range(-16, -1)),
            tolerance=0.02,
        )

    def cells(self, settings: BiasSettings) -> Sequence[Cell]:
        """One a scheme and kind of solver."""
        return [
            Cell(f"{sides}-{solver}", {"sides": sides, "solver": solver}) for solver in _SOLVERS for sides in _RATES
        ]

    def measure(self, settings: BiasSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """A record a precision, or a number of steps: errors over the nudge, and the best of each task."""
        sides = cell.values["sides"]
        problem = Logistic.draw(
            settings.tasks,
            settings.dimension,
            settings.examples,
            settings.strength,
            torch.Generator().manual_seed(settings.seed),
        )
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
            for about, precisions, errors in measured(settings, problem, sides)
        ]

    def figure(self, settings: BiasSettings, records: Records) -> Figure:
        """The best error over δ, and the error over the nudge at some δ."""
        figure = Figure(figsize=(11.5, 4.6), layout="constrained")
        best, over_nudge = figure.subplots(1, 2)
        _draw_best(best, records)
        for sides, color in SIDES.items():
            line = _line(records, sides, "apart")
            for record, style in zip((line[0], line[len(line) // 2], line[-1]), ("-", "--", ":"), strict=True):
                # One label a precision: the colours are explained on the left.
                label = f"δ = {record['precision']:.0e}" if sides == "symmetric" else None
                over_nudge.plot(settings.nudges, record["errors"], color=color, linestyle=style, label=label)
        over_nudge.set_xlabel("nudge ν")
        over_nudge.set_ylabel("relative error of the meta-gradient")
        over_nudge.set_title("solves that err apart: a nudge can be too small or too large", fontsize=10)
        for axes in (best, over_nudge):
            axes.set_xscale("log")
            axes.set_yscale("log")
            grid(axes)
            axes.legend(frameon=False, fontsize=8)
        over_nudge.set_ylim(top=1)
        return figure

    def listings(self, settings: BiasSettings, records: Records) -> Sequence[Listing]:
        """Slopes, then the best errors and nudges."""
        slopes = [
            (sides, solver, _text(_slope(records, sides, solver)), f"{_RATES[sides]:.3f}")
            for solver in _SOLVERS
            for sides in _RATES
        ]
        rows = [
            (r["sides"], r["solver"], f"{r['precision']:.1e}", f"{r['best_error']:.2e}", f"{r['best_nudge']:.1e}")
            for r in records
        ]
        return [
            Listing("Slope of log error in log δ", ("scheme", "solves err", "measured, 95 %", "rate"), tuple(slopes)),
            Listing(
                "Least error over the nudge (geometric means over tasks)",
                ("scheme", "solves err", "δ", "relative error", "best ν"),
                tuple(rows),
            ),
        ]

    def findings(self, settings: BiasSettings, records: Records) -> Sequence[Finding]:
        """The rates, one by one, and that they are upper bounds."""
        claims = {
            "forward": "The bias of the forward estimator is of the order δ^{1/2} in the solver's precision δ.",
            "symmetric": "The symmetric estimator achieves an improved bias rate, δ^{2/3}.",
            "fourth": "Ours, not the paper's: a fourth-order scheme goes on to δ^{4/5}.",
        }
        found: list[Finding] = []
        for sides, claim in claims.items():
            slope = _slope(records, sides, "apart")
            found.append(
                Finding(
                    claim,
                    f"Slope {_text(slope)}, δ from {min(settings.precisions):.0e} to {max(settings.precisions):.0e}, "
                    f"{settings.tasks} tasks, solves that err apart; held where within {settings.tolerance:g} of "
                    f"{_RATES[sides]:.3f}.",
                    abs(slope.mean - _RATES[sides]) <= settings.tolerance,
                )
            )
        slopes = {sides: _slope(records, sides, "alike") for sides in _RATES}
        found.append(
            Finding(
                "The rates are upper bounds: no solver of precision δ does worse.",
                "Solves from the same start with the same number of steps err alike, and their errors cancel: slopes "
                + ", ".join(f"{_text(slope)} ({sides})" for sides, slope in slopes.items())
                + ".",
                all(slope.mean + slope.half_width >= _RATES[sides] for sides, slope in slopes.items()),
            )
        )
        return found


def _slope(records: Records, sides: str, solver: str) -> Interval:
    """Least squares in log-log for each task, then the mean over tasks with its interval."""
    line = _line(records, sides, solver)
    x = torch.tensor([record["precisions"] for record in line], dtype=torch.float64).log()
    y = torch.tensor([record["best_errors"] for record in line], dtype=torch.float64).log()
    x, y = x - x.mean(0), y - y.mean(0)
    return interval((x * y).sum(0) / x.square().sum(0))


def _line(records: Records, sides: str, solver: str) -> list[Record]:
    return [record for record in records if (record["sides"], record["solver"]) == (sides, solver)]


def _text(slope: Interval) -> str:
    return f"{slope.mean:.3f} ± {slope.half_width:.3f}"


def _draw_best(axes: Axes, records: Records) -> None:
    for sides, color in SIDES.items():
        for solver, marker, style in (("apart", "o", "-"), ("alike", "x", "--")):
            line = _line(records, sides, solver)
            slope = _slope(records, sides, solver)
            axes.plot(
                [record["precision"] for record in line],
                [record["best_error"] for record in line],
                color=color,
                marker=marker,
                linestyle=style,
                markersize=4,
                label=f"{sides}, err {solver}: slope {slope.mean:.2f}",
            )
    axes.set_xlabel("precision of the inner solver δ = ‖φ̃ − φ*‖")
    axes.set_ylabel("relative error of the meta-gradient, best nudge")
    axes.set_title("rates ½, ⅔ and ⅘ where solves err apart", fontsize=10)


STUDY = Bias()
