"""Estimators where only the head adapts (ANIL): their errors beside theory, their accuracy, their speed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure

from metagrad.estimators import Binomial, FirstOrder, Truncated
from metagrad.experiments import session
from metagrad.experiments.config import Experiment
from metagrad.training.evaluation import fixed_tasks
from metagrad.training.run import Run
from metagrad_studies.accuracy import methods
from metagrad_studies.accuracy.comparing import compared, of, signed
from metagrad_studies.accuracy.figure import draw_distances
from metagrad_studies.accuracy.settings import AccuracySettings
from metagrad_studies.accuracy.sizes import SEEDS, data_sets
from metagrad_studies.accuracy.study import AccuracyStudy, experiment
from metagrad_studies.anil.errors import head_errors
from metagrad_studies.core.plots import COLORS
from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Bench, Cell, Finding, Listing, Request
from metagrad_studies.instruments.training import with_data
from metagrad_studies.table1 import ANCHOR

_STEPS = 5
_NOTHING_LOST = 0.02  # a difference of accuracies that counts as none


@dataclass(frozen=True)
class HeadSettings(AccuracySettings):
    """Settings of accuracies, and of errors.

    Args:
        error_tasks: training tasks whose meta-gradients are compared, at the weights of every run of MAML.
        error_estimators: which are compared, as constructor expressions.
    """

    error_tasks: int
    error_estimators: tuple[str, ...]


class Anil(AccuracyStudy):
    """As table1 with an inner loop over the last layer alone; MAML's cells also measure errors."""

    name: ClassVar[str] = "anil"
    title: ClassVar[str] = "Every estimator where only the head adapts"
    source: ClassVar[str] = "ANIL (arXiv 1909.09157), and BinomGBML (arXiv 2604.13263), appendix D.2"
    choices: ClassVar[tuple[str, ...]] = (
        "No numbers are published for these estimators on a head; the settings are table1's, whose choices hold here "
        "too. The last linear layer adapts, everything before it is only meta-learned.",
        "The inner loss is then convex, theorem 3.8's case. Errors are of single training tasks at the weights that "
        "MAML on the head came to, in float64; the bounds take α times the curvature from the inputs of the head. The "
        "theorem speaks of the meta-gradient of what adapts; the figure shows that part, the table the whole as well.",
        "Reptile is left out: it moves only what adapts, so the network would stay as it was drawn.",
        "iMAML and FO-B-MAML have the proximal term of table1's iMAML.",
        "Times are medians of the training runs, measured while another process was at work.",
    )

    def settings(self, request: Request) -> HeadSettings:
        """As table1's."""
        found, missing = data_sets(request, self.name)
        orders = (2,) if request.scale == "small" else tuple(range(1, _STEPS))
        anchor = ANCHOR[request.scale]
        rows = [methods.first_order(), methods.finite_difference(anchor)]
        for order in orders:
            rows += [methods.implicit(order, anchor), methods.truncated(order), methods.binomial_published(order)]
            rows += [methods.binomial_plain(order), methods.binomial_auto(order)]
        every = range(1, _STEPS)
        return HeadSettings(
            data_sets=tuple(replace(data, config={**data.config, "adapts": [_head(data.config)]}) for data in found),
            methods=(*rows, methods.exact(_STEPS), methods.exact_everywhere(_STEPS)),
            seeds=SEEDS,
            spread="95 % interval",
            not_found=missing,
            error_tasks=10 if request.scale == "small" else 50,
            error_estimators=(
                repr(FirstOrder()),
                *(repr(Truncated(order)) for order in every),
                *(repr(Binomial(order)) for order in every),
                *(repr(Binomial(order, scale="paper")) for order in every),
                *(repr(Binomial(order, center="auto")) for order in every),
            ),
        )

    def measure(self, settings: AccuracySettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """Train and test; where that was MAML on the head, errors at its weights follow."""
        assert isinstance(settings, HeadSettings)
        records = list(super().measure(settings, cell, bench))
        if cell.values["method"] == "MAML":
            config = with_data(experiment(settings, cell), bench)
            run = Run(bench.directory / "run")
            source = config.problem.sources(torch.device("cpu")).train
            tasks = fixed_tasks(source, settings.error_tasks, config.test.seed)
            weights = run.weights(session.best_available(run))
            records += head_errors(config, weights, tasks, settings.error_estimators)
        return records

    def figure(self, settings: AccuracySettings, records: Records) -> Figure:
        """Errors with bounds over L, then accuracies; a column a data set."""
        sets = settings.data_sets
        figure = Figure(figsize=(2.4 + 4.2 * len(sets), 7.6), layout="constrained")
        panels = figure.subplots(2, len(sets), squeeze=False)
        for axes, data in zip(panels[0], sets, strict=True):
            found = [record for record in _errors(records) if record["data_set"] == data.title]
            for label, row in _families(found).items():
                color = COLORS[label.split()[0]]
                style = {"Binomial L/K": ":", "Binomial auto": "--"}.get(label, "-")
                axes.plot(
                    row.keys(),
                    [median(r["head_error"] for r in rs) for rs in row.values()],
                    style,
                    color=color,
                    marker="o",
                    markersize=4,
                    label=label,
                )
                if label in ("Truncated", "Binomial"):
                    bounds = [median(r["bound"] for r in rs) for rs in row.values()]
                    axes.plot(row.keys(), bounds, color=color, linewidth=4, alpha=0.2, label=f"{label}, bound")
            axes.set_yscale("log")
            axes.set_xticks(range(_STEPS))
            axes.set_xlabel("order or window L (0: FirstOrder)")
            axes.set_title(data.title, fontsize=10)
        panels[0][0].set_ylabel("error on the head, relative to ‖g‖ (median)")
        panels[0][0].legend(frameon=False, fontsize=8)
        draw_distances(list(panels[1]), settings, [record for record in records if "accuracy_tasks" in record])
        return figure

    def listings(self, settings: AccuracySettings, records: Records) -> Sequence[Listing]:
        """Accuracies, runs, errors."""
        trained = [record for record in records if "accuracy_tasks" in record]
        columns: list[str] = []
        for data in settings.data_sets:
            columns += [f"{data.title}: head", "bound", "all parameters"]
        rows: list[tuple[str, ...]] = []
        for text in dict.fromkeys(record["estimator"] for record in _errors(records)):
            row = [text]
            for data in settings.data_sets:
                found = [r for r in _errors(records) if (r["data_set"], r["estimator"]) == (data.title, text)]
                bounds = [r["bound"] for r in found if r["bound"] is not None]
                row += [f"{median(r['head_error'] for r in found):.2g}"]
                row += [f"{median(bounds):.2g}" if bounds else ""]
                row += [f"{median(r['error'] for r in found):.2g}"]
            rows.append(tuple(row))
        title = (
            "Errors of single tasks' meta-gradients, medians: of the head's part relative to the outer gradient there, "
            "with its bound; of all parameters relative to exact"
        )
        return [*super().listings(settings, trained), Listing(title, ("estimator", *columns), tuple(rows))]

    def findings(self, settings: AccuracySettings, records: Records) -> Sequence[Finding]:
        """The theorem, the estimators, and ANIL's own claims."""
        errors = _errors(records)
        return [_below_bounds(errors), _below_truncated(errors), *_against_maml(settings, records)]


def _head(config: Mapping[str, Any]) -> str:
    """The name of the last linear layer."""
    model = Experiment.from_json(config).problem.model()
    return [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)][-1]


def _errors(records: Records) -> list[Record]:
    return [record for record in records if "head_error" in record]


def _families(errors: Sequence[Record]) -> dict[str, dict[int, list[Record]]]:
    """Errors by family and order; FirstOrder is order 0 of each."""
    names = {repr(FirstOrder()): [(name, 0) for name in ("Truncated", "Binomial", "Binomial L/K", "Binomial auto")]}
    for order in range(1, _STEPS):
        names[repr(Truncated(order))] = [("Truncated", order)]
        names[repr(Binomial(order))] = [("Binomial", order)]
        names[repr(Binomial(order, scale="paper"))] = [("Binomial L/K", order)]
        names[repr(Binomial(order, center="auto"))] = [("Binomial auto", order)]
    found: dict[str, dict[int, list[Record]]] = {}
    for record in errors:
        for name, order in names[record["estimator"]]:
            found.setdefault(name, {}).setdefault(order, []).append(record)
    return found


def _below_bounds(errors: Sequence[Record]) -> Finding:
    bounded = [record for record in errors if record["bound"] is not None]
    closest = max(record["head_error"] / record["bound"] for record in bounded if record["bound"] > 0)
    curvatures = sorted(
        {(record["data_set"], record["seed"], record["task"]): record["curvature"] for record in errors}.values()
    )
    return Finding(
        "Where the inner loss is convex, theorem 3.8 bounds the error of the meta-gradient.",
        f"All {len(bounded)} errors are at most {closest:.2f} of their bounds; α times the curvature is at most "
        f"{curvatures[0]:.2g} to {curvatures[-1]:.2g}, by task (the theorem asks for 1; above it the bounds are those "
        "of docs/explanation/derivation-bounds.md).",
        closest <= 1,
    )


def _below_truncated(errors: Sequence[Record]) -> Finding:
    families = _families(errors)
    shares: list[str] = []
    below: list[bool] = []
    for name in ("Binomial", "Binomial L/K", "Binomial auto"):
        pairs = [
            (one["head_error"], other["head_error"])
            for order in range(1, _STEPS)
            for one, other in zip(families[name][order], families["Truncated"][order], strict=True)
        ]
        count = sum(one < other for one, other in pairs)
        shares.append(f"{name} in {count} of {len(pairs)}")
        if name == "Binomial":
            below.append(count == len(pairs))
    return Finding(
        "Binomial's error is below Truncated's at every L.",
        f"Below it, over tasks and L = 1 to {_STEPS - 1}: {', '.join(shares)}.",
        all(below),
    )


def _against_maml(settings: AccuracySettings, records: Records) -> list[Finding]:
    trained = [record for record in records if "accuracy_tasks" in record]
    head, whole = (methods.named(settings.methods, name)[0] for name in ("MAML", "MAML, whole network"))
    differences = [compared(trained, data, head, whole) for data in settings.data_sets]
    lost = any(one.by.mean + one.by.half_width < -_NOTHING_LOST for one in differences)
    kept = all(one.by.mean - one.by.half_width > -_NOTHING_LOST for one in differences)
    ratios = [
        median(r["seconds_per_meta_step"] for r in of(trained, data, whole))
        / median(r["seconds_per_meta_step"] for r in of(trained, data, head))
        for data in settings.data_sets
    ]
    titled = list(zip(settings.data_sets, differences, ratios, strict=True))
    return [
        Finding(
            "Adapting the head alone performs as well as MAML.",
            "Accuracy on the head minus on the whole network, points: "
            f"{'; '.join(f'{data.title} {signed(one.by)}' for data, one, _ in titled)} (as well: less than "
            f"{100 * _NOTHING_LOST:.0f} points below).",
            True if kept else False if lost else None,
        ),
        Finding(
            "ANIL trains 1.7 times as fast as MAML, an iteration.",
            f"Times as fast: {'; '.join(f'{data.title} {ratio:.2f}' for data, _, ratio in titled)}.",
            all(ratio > 1 for ratio in ratios),
        ),
    ]


STUDY = Anil()
