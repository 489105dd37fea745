"""FO-B-MAML: few-shot accuracy on MNIST-1D beside other methods, with normalised and plain outer updates."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad.experiments.axes import grid
from metagrad.training import Interval, Run
from metagrad_studies.core import Bench, Cell, Finding, Listing, Record, Records, Request, Study, listing
from metagrad_studies.core.plots import COLORS, SIDES, label, legend_below, panels
from metagrad_studies.core.verdicts import above, all_of, written
from metagrad_studies.fobmaml_mnist1d.runs import SignalsSettings, experiment
from metagrad_studies.instruments.training import diverges, pooled, pooled_difference, test, tested

_COLORS = {
    "MAML": COLORS["Exact"],
    "FO-B-MAML symmetric": SIDES["symmetric"],
    "FO-B-MAML forward": SIDES["forward"],
    "iMAML": COLORS["Implicit"],
    "FOMAML": COLORS["FirstOrder"],
    "Reptile": COLORS["Reptile"],
}
_SIDES = ("FO-B-MAML symmetric", "FO-B-MAML forward")
_OUTER = {"normalised": "o", "plain": "s"}


class Signals(Study[SignalsSettings]):
    """Six methods, two outer updates, several seeds, the same test tasks."""

    name: ClassVar[str] = "fobmaml-mnist1d"
    side_by_side: ClassVar[bool] = True
    title: ClassVar[str] = "Few-shot accuracy on MNIST-1D, with normalised and plain outer updates"
    source: ClassVar[str] = "FO-B-MAML (Chayti and Jaggi, arXiv 2409.03682), its experiments on MNIST-1D"
    choices: ClassVar[tuple[str, ...]] = (
        "The paper does not publish task distribution, sizes, network and rates; all of them are ours. Tasks are 5 of "
        "the ten digits with 5 support and 15 query signals each. Signals of training, validation and test are "
        "disjoint. The network is an MLP with two hidden layers of 100.",
        "MAML, FOMAML and Reptile adapt by plain gradient descent, as they were published. iMAML and FO-B-MAML need a "
        "proximal term and adapt by gradient descent with it. So MAML's inner problem is another.",
        "A plain update is SGD with momentum; the normalised one has the same momentum and steps of fixed length. "
        "Both rates fall to 0 along a cosine.",
        "Rates, λ and ν were chosen by validation accuracy after 300 meta-steps on seed 100, which is not reported, "
        "from a few values: normalised 0.05 to 0.3, plain 0.02 to 0.3 (MAML diverges at 0.2), Reptile 0.01 to 0.15; λ "
        "of 0.25, 0.5, 0.7, 1 and 2 with 5 or 10 steps of 0.3 to 1.5; ν of 0.1 and 0.3.",
        "FO-B-MAML learned worse with 10 inner steps than with 5, and iMAML did not learn with any of six settings. "
        "ReLU has kinks; at a solution on a kink the problem has no second derivative. A run that diverges is tested "
        "at its best weights, and counted.",
    )

    def settings(self, request: Request) -> SignalsSettings:
        full = request.scale == "full"
        return SignalsSettings(
            meta_steps=3000 if full else 300,
            seeds=(10, 11, 12, 13, 14) if full else (10, 11, 12),
            validation_tasks=200 if full else 100,
            test_tasks=1000 if full else 600,
        )

    def cells(self, settings: SignalsSettings) -> Sequence[Cell]:
        return [
            Cell(f"{method.replace(' ', '-')},{outer},seed={seed}", {"method": method, "outer": outer, "seed": seed})
            for seed in settings.seeds
            for method in _COLORS
            for outer in _OUTER
        ]

    def measure(self, settings: SignalsSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        config = experiment(settings, cell.values["method"], cell.values["outer"], cell.values["seed"])
        bench = replace(bench, data=None)
        diverged = diverges(config, bench)
        result = test(config, bench)
        validations = [r for r in Run(bench.directory / "run").metrics() if r["kind"] == "validation"]
        return [
            {
                **tested(result, "accuracy", config.num_steps),
                "diverged": diverged,
                "unadapted": tested(result, "accuracy", 0)["accuracy"],
                "validated_at": [r["step"] for r in validations],
                "validation_accuracy": [r["accuracy"] for r in validations],
            }
        ]

    def figure(self, settings: SignalsSettings, records: Records) -> Figure:
        figure, [(final, course)] = panels(1, 2, 11.5, 4.8)
        for number, method in enumerate(_COLORS):
            for offset, outer in zip((-0.12, 0.12), _OUTER, strict=True):
                _draw(final, course, records.where(method=method, outer=outer), number + offset)
        final.set_yticks(range(len(_COLORS)), list(_COLORS))
        final.invert_yaxis()
        final.set_xlim(0, 100)  # few seeds give intervals beyond what an accuracy can be
        label(final, "test accuracy (%), 95 % interval over seeds and tasks")
        label(course, "meta-steps", "validation accuracy (%), mean of seeds")
        for axes in (final, course):
            grid(axes)
        legend_below(figure, course, 4, fontsize=8)
        return figure

    def listings(self, settings: SignalsSettings, records: Records) -> Sequence[Listing]:
        rows: list[tuple[str, ...]] = []
        for method in _COLORS:
            runs = {outer: records.where(method=method, outer=outer) for outer in _OUTER}
            reached = (written(pooled(each, "accuracy"), 1) for each in runs.values())
            diverged = ", ".join(f"{sum(each.column('diverged'))} {outer}" for outer, each in runs.items())
            rows.append((method, *reached, written(_against(records, method, method, beside="plain"), 1), diverged))
        others = [method for method in _COLORS if method != "MAML"]
        beside = ((m, *(written(_against(records, m, "MAML", outer), 1) for outer in _OUTER)) for m in others)
        columns = ("method", *_OUTER, "normalised − plain", "runs that diverged")
        return [
            listing("Test accuracy in %, 95 %", columns, rows),
            listing("Difference to MAML in points, paired, 95 %", ("method", *_OUTER), beside),
        ]

    def findings(self, settings: SignalsSettings, records: Records) -> Sequence[Finding]:
        symmetric, close = _SIDES[0], settings.close
        apart = {method: _against(records, method, "MAML") for method in _SIDES}
        ahead = {other: _against(records, symmetric, other) for other in ("FOMAML", "Reptile")}
        gains = {method: _against(records, method, method, beside="plain") for method in _SIDES}
        same = {method: _against(records, method, "iMAML") for method in _SIDES}
        either_way = [*same.values(), *(Interval(-entry.mean, entry.half_width) for entry in same.values())]
        reached = pooled(records.where(method=symmetric, outer="normalised"), "accuracy")
        return [
            Finding(
                "FO-B-MAML achieves high accuracy on MNIST-1D, tracking closely with second-order MAML.",
                f"{written(reached, 1)} % (symmetric, normalised); to MAML, in points: {_texts(apart)}; "
                f"held where no more than {100 * close:g} points are lost.",
                all_of(above(entry, -close) for entry in apart.values()),
            ),
            Finding(
                "FOMAML and Reptile have an irreducible bias, which FO-B-MAML has not.",
                f"Symmetric minus theirs, normalised, in points: {_texts(ahead)}; held where above 0.",
                all_of(above(entry) for entry in ahead.values()),
            ),
            Finding(
                "Normalised outer updates beat plain gradient descent.",
                f"Normalised minus plain, in points: {_texts(gains)}; held where above 0.",
                all_of(above(entry) for entry in gains.values()),
            ),
            Finding(
                "Ours, not the paper's: iMAML has the same meta-gradient by second derivatives, and the same accuracy.",
                f"FO-B-MAML minus iMAML, normalised, in points: {_texts(same)}; held where within {100 * close:g} "
                "points.",
                all_of(above(entry, -close) for entry in either_way),
            ),
        ]


def _draw(final: Axes, course: Axes, runs: Records, at: float) -> None:
    """One method with one outer update: its test, and its validations until the first run diverged."""
    method, outer = runs[0]["method"], runs[0]["outer"]
    color, normalised = _COLORS[method], outer == "normalised"
    look: dict[str, Any] = {
        "color": color,
        "marker": _OUTER[outer],
        "markerfacecolor": color if normalised else "white",
    }
    entry = pooled(runs, "accuracy")
    final.errorbar(entry.mean * 100, at, xerr=entry.half_width * 100, capsize=3, linestyle="none", **look)
    lines = runs.column("validation_accuracy")
    shortest = min(map(len, lines))
    mean = [100 * sum(line[step] for line in lines) / len(lines) for step in range(shortest)]
    style = "-" if normalised else "--"
    at_steps = runs[0]["validated_at"][:shortest]
    course.plot(at_steps, mean, markersize=4, linestyle=style, label=f"{method}, {outer}", **look)


def _against(records: Records, method: str, other: str, outer: str = "normalised", beside: str = "") -> Interval:
    one, two = records.where(method=method, outer=outer), records.where(method=other, outer=beside or outer)
    return pooled_difference(one, two, "accuracy")


def _texts(entries: Mapping[str, Interval]) -> str:
    return ", ".join(f"{written(entry, 1)} ({name})" for name, entry in entries.items())


STUDY = Signals()
