"""Estimators where only the head adapts (ANIL): their errors beside theory, their accuracy, their speed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, ClassVar

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad import Binomial, FiniteDifference, FirstOrder, Truncated
from metagrad.experiments import session
from metagrad.experiments.config import Experiment
from metagrad.training import Run, fixed_tasks
from metagrad_studies.accuracy.methods import FOMAML, Method, imaml, maml, named, ordered, row
from metagrad_studies.accuracy.sizes import data_sets
from metagrad_studies.accuracy.study import AccuracyStudy, experiment
from metagrad_studies.accuracy.tables import AccuracySettings, compared, draw_distances, of
from metagrad_studies.anil.errors import head_errors
from metagrad_studies.core import Bench, Cell, Finding, Listing, Record, Records, Request, listing
from metagrad_studies.core.plots import COLORS, label, legend, panels
from metagrad_studies.core.verdicts import above, all_of, written
from metagrad_studies.instruments.training import with_data
from metagrad_studies.table1 import ANCHOR

_STEPS = 5
_NOTHING_LOST = 0.02  # a difference of accuracies that counts as none
_WHOLE = "MAML, whole network"


@dataclass(frozen=True, kw_only=True)
class HeadSettings(AccuracySettings):
    """Settings of accuracies, and of errors."""

    error_tasks: int  # training tasks whose meta-gradients are compared, at the weights of every run of MAML
    error_estimators: tuple[str, ...]  # which are compared, as constructor expressions


def _by_family() -> dict[str, list[str]]:
    """Constructor expressions of each family for orders 1 to K − 1."""
    orders = range(1, _STEPS)
    return {
        "Truncated": [repr(Truncated(order)) for order in orders],
        "Binomial": [repr(Binomial(order)) for order in orders],
        "Binomial L/K": [repr(Binomial(order, scale="paper")) for order in orders],
        "Binomial auto": [repr(Binomial(order, center="auto")) for order in orders],
    }


class Anil(AccuracyStudy[HeadSettings]):
    """As table1 with an inner loop over the last layer alone; MAML's cells also measure errors."""

    name: ClassVar[str] = "anil"
    title: ClassVar[str] = "Every estimator where only the head adapts"
    source: ClassVar[str] = "ANIL (arXiv 1909.09157), and BinomGBML (arXiv 2604.13263), appendix D.2"
    choices: ClassVar[tuple[str, ...]] = (
        "No numbers are published for these estimators on a head. The settings are table1's, whose choices hold here "
        "too. The last linear layer adapts; everything before it is only meta-learned.",
        "The inner loss is then convex, theorem 3.8's case. Errors are of single training tasks at the weights of "
        "MAML on the head, in float64. The bounds take α times the curvature from the inputs of the head. The theorem "
        "bounds the meta-gradient of what adapts: the figure shows that part, the table the whole as well.",
        "Reptile is left out: it moves only what adapts, so the rest of the network would never learn.",
        "iMAML and FO-B-MAML have the proximal term of table1's iMAML.",
        "Times are medians of the training runs, measured while another process was at work.",
    )

    def settings(self, request: Request) -> HeadSettings:
        available, missing = data_sets(request, self.name)
        small, anchor = request.scale == "small", ANCHOR[request.scale]
        rows: list[Method] = [FOMAML, row("FO-B-MAML", 0, FiniteDifference(), anchor)]
        for order in (2,) if small else range(1, _STEPS):
            rows.append(imaml(order, anchor))
            rows += ordered(order, "Truncated", "Binomial L/K", "Binomial plain", "Binomial auto")
        everywhere = replace(maml(_STEPS), name=_WHOLE, adapts=())
        return HeadSettings(
            data_sets=tuple(replace(data, config={**data.config, **_head(data.config)}) for data in available),
            methods=(*rows, maml(_STEPS), everywhere),
            not_found=missing,
            error_tasks=10 if small else 50,
            error_estimators=(repr(FirstOrder()), *(text for texts in _by_family().values() for text in texts)),
        )

    def measure(self, settings: HeadSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """Train and test; where that was MAML on the head, errors at its weights follow."""
        records = list(super().measure(settings, cell, bench))
        if cell.values["method"] == "MAML":
            config = with_data(experiment(settings, cell), bench)
            run = Run(bench.directory / "run")
            source = config.problem.sources(torch.device("cpu")).train
            tasks = fixed_tasks(source, settings.error_tasks, config.test.seed)
            weights = run.weights(session.best_available(run))
            records += head_errors(config, weights, tasks, settings.error_estimators)
        return records

    def figure(self, settings: HeadSettings, records: Records) -> Figure:
        count = len(settings.data_sets)
        figure, rows = panels(2, count, 2.4 + 4.2 * count, 7.6)
        for axes, data in zip(rows[0], settings.data_sets, strict=True):
            _draw_errors(axes, records.having("head_error").where(data_set=data.title))
            label(axes, "order or window L (0: FirstOrder)", title=data.title, log="y")
            axes.set_xticks(range(_STEPS))
        rows[0][0].set_ylabel("error on the head, relative to ‖g‖ (median)")
        legend(rows[0][0])
        draw_distances(rows[1], settings, records.having("accuracy_tasks"))
        return figure

    def listings(self, settings: HeadSettings, records: Records) -> Sequence[Listing]:
        errors = records.having("head_error")
        names = ("head", "bound", "all parameters")
        columns = [f"{data.title}: {name}" if name == "head" else name for data in settings.data_sets for name in names]
        rows: list[list[str]] = []
        for text in dict.fromkeys(errors.column("estimator")):
            cells = [text]
            for data in settings.data_sets:
                here = errors.where(data_set=data.title, estimator=text)
                bounds = [bound for bound in here.column("bound") if bound is not None]
                cells += [f"{median(here.column('head_error')):.2g}", f"{median(bounds):.2g}" if bounds else ""]
                cells.append(f"{median(here.column('error')):.2g}")
            rows.append(cells)
        title = (
            "Errors of single tasks' meta-gradients, medians: of the head's part relative to the outer gradient there, "
            "with its bound; of all parameters relative to exact"
        )
        trained = records.having("accuracy_tasks")
        return [*super().listings(settings, trained), listing(title, ("estimator", *columns), rows)]

    def findings(self, settings: HeadSettings, records: Records) -> Sequence[Finding]:
        errors = records.having("head_error")
        return [
            _below_bounds(errors),
            _below_truncated(errors),
            *_against_maml(settings, records.having("accuracy_tasks")),
        ]


def _head(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The field of an experiment that says to adapt the last linear layer."""
    model = Experiment.from_json(config).problem.model()
    return {"adapts": [[name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)][-1]]}


def _draw_errors(axes: Axes, errors: Records) -> None:
    first = errors.where(estimator=repr(FirstOrder()))
    for family, texts in _by_family().items():
        line = [first, *(errors.where(estimator=text) for text in texts)]
        color = COLORS[family.split()[0]]
        style = {"Binomial L/K": ":", "Binomial auto": "--"}.get(family, "-")
        middle = [median(order.column("head_error")) for order in line]
        axes.plot(range(_STEPS), middle, style, color=color, marker="o", markersize=4, label=family)
        if family in ("Truncated", "Binomial"):
            bounds = [median(order.column("bound")) for order in line]
            axes.plot(range(_STEPS), bounds, color=color, linewidth=4, alpha=0.2, label=f"{family}, bound")


def _below_bounds(errors: Records) -> Finding:
    bounded = [record for record in errors if record["bound"] is not None]
    closest = max(record["head_error"] / record["bound"] for record in bounded if record["bound"] > 0)
    by_task = {(record["data_set"], record["seed"], record["task"]): record["curvature"] for record in errors}
    return Finding(
        "Where the inner loss is convex, theorem 3.8 bounds the error of the meta-gradient.",
        f"All {len(bounded)} errors are at most {closest:.2f} of their bounds; α times the curvature is at most "
        f"{min(by_task.values()):.2g} to {max(by_task.values()):.2g}, by task (the theorem asks for 1; above it the "
        "bounds are those of the derivation in our documentation).",
        closest <= 1,
    )


def _below_truncated(errors: Records) -> Finding:
    families = _by_family()
    columns = {
        name: [error for text in texts for error in errors.where(estimator=text).column("head_error")]
        for name, texts in families.items()
    }
    truncated = columns.pop("Truncated")
    below = {name: sum(a < b for a, b in zip(column, truncated, strict=True)) for name, column in columns.items()}
    return Finding(
        "Binomial's error is below Truncated's at every L.",
        f"Below it, over tasks and L = 1 to {_STEPS - 1}: "
        f"{', '.join(f'{name} in {count} of {len(truncated)}' for name, count in below.items())}.",
        below["Binomial"] == len(truncated),
    )


def _against_maml(settings: AccuracySettings, trained: Records) -> list[Finding]:
    whole = named(settings.methods, _WHOLE)[0]
    differences: dict[str, str] = {}
    ratios: dict[str, float] = {}
    verdicts: list[bool | None] = []
    for data in settings.data_sets:
        by = compared(trained, data, settings.maml, whole).by
        slow, fast = (
            median(of(trained, data, method).column("seconds_per_meta_step")) for method in (whole, settings.maml)
        )
        differences[data.title], ratios[data.title] = written(by, signed=True), slow / fast
        verdicts.append(above(by, -_NOTHING_LOST))
    return [
        Finding(
            "Adapting the head alone performs as well as MAML.",
            "Accuracy on the head minus on the whole network, points: "
            f"{'; '.join(f'{title} {by}' for title, by in differences.items())} (as well: less than "
            f"{100 * _NOTHING_LOST:.0f} points below).",
            all_of(verdicts),
        ),
        Finding(
            "ANIL trains 1.7 times as fast as MAML, an iteration.",
            f"Times as fast: {'; '.join(f'{title} {ratio:.2f}' for title, ratio in ratios.items())}.",
            all(ratio > 1 for ratio in ratios.values()),
        ),
    ]


STUDY = Anil()
