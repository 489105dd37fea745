"""The paper's Figure 5: how loss and accuracy go during meta-training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from torch import tensor

from metagrad_studies.accuracy import methods
from metagrad_studies.accuracy.comparing import of
from metagrad_studies.accuracy.methods import Method
from metagrad_studies.accuracy.settings import AccuracySettings
from metagrad_studies.accuracy.sizes import SEEDS, data_sets, lasting
from metagrad_studies.accuracy.study import AccuracyStudy
from metagrad_studies.core.intervals import over_seeds_and_tasks
from metagrad_studies.core.plots import COLORS
from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Finding, Request

_STEPS, _ORDER = 5, 2
_META_STEPS = {"small": 200, "medium": 1000, "full": 1000}
_WINDOWS = 20  # a curve is smoothed over this part of its length
_UNITS = {"losses": "loss (nats)", "accuracies": "accuracy (%)"}

Curve = npt.NDArray[np.float64]


class Curves(AccuracyStudy):
    """Query loss and accuracy of the training tasks at every meta-step, seeds and tasks shared by the methods."""

    name: ClassVar[str] = "fig5"
    title: ClassVar[str] = "Loss and accuracy during meta-training"
    source: ClassVar[str] = "BinomGBML (arXiv 2604.13263), Figure 5"
    choices: ClassVar[tuple[str, ...]] = (
        "The paper does not say which L; ours is 2. It draws the first 1000 meta-iterations on miniImageNet 5-way "
        "1-shot, as full size does here; smaller sizes take the first data set of table1's.",
        "It does not say how its curves are smoothed, nor how “aligns” is meant. Ours are running means over a "
        "twentieth of the run; records hold the raw values. The distance between two curves is the root of the mean "
        "square of their difference, smoothed; a method is compared with MAML of the same seed, which begins with the "
        "same weights and meets the same tasks.",
        "Three seeds, where the paper draws one run. Binomial with α' = α·L/K, as the paper's runs on real data.",
    )

    def settings(self, request: Request) -> AccuracySettings:
        """Table1's first data set, for as long as the paper's figure at full size."""
        found, missing = data_sets(request, self.name)
        first = found[0]
        rows = (methods.first_order(), methods.truncated(_ORDER), methods.binomial_published(_ORDER))
        return AccuracySettings(
            data_sets=(replace(first, config=lasting(first.config, _META_STEPS[request.scale])),),
            methods=(*rows, methods.exact(_STEPS)),
            seeds=SEEDS,
            spread="95 % interval",
            not_found=missing,
        )

    def extra(self, metrics: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The raw curves."""
        steps = [entry for entry in metrics if entry["kind"] == "train"]
        return {"losses": [step["loss"] for step in steps], "accuracies": [step["accuracy"] for step in steps]}

    def figure(self, settings: AccuracySettings, records: Records) -> Figure:
        """Accuracy and loss over meta-steps: mean of the seeds, and each seed."""
        figure = Figure(figsize=(10.5, 3.9), layout="constrained")
        for axes, name in zip(figure.subplots(1, 2, squeeze=False)[0], ("accuracies", "losses"), strict=True):
            for method in settings.methods:
                curves = [smoothed(record, name) for record in of(records, settings.data_sets[0], method)]
                shortest = min(len(steps) for steps, _ in curves)
                color = COLORS[method.family]
                for steps, values in curves:
                    axes.plot(steps, values, color=color, linewidth=0.6, alpha=0.4)
                mean = np.mean([values[:shortest] for _, values in curves], axis=0)
                axes.plot(curves[0][0][:shortest], mean, color=color, linewidth=1.8, label=method.label)
            axes.set_xlabel("meta-steps")
            axes.set_ylabel(f"query {_UNITS[name]} of training tasks")
        figure.axes[0].legend(frameon=False, fontsize=9)
        figure.suptitle(
            f"{settings.data_sets[0].title}: means of {len(settings.seeds)} seeds (thin: each)", fontsize=10
        )
        return figure

    def findings(self, settings: AccuracySettings, records: Records) -> Sequence[Finding]:
        """How much farther from MAML Truncated's curves are than Binomial's."""
        truncated, binomial = settings.methods[1], settings.methods[2]
        held: list[bool | None] = []
        parts: list[str] = []
        for name in ("losses", "accuracies"):
            far, near = (_distances(settings, records, method, name) for method in (truncated, binomial))
            by = over_seeds_and_tasks([tensor([a - b]) for a, b in zip(far, near, strict=True)])
            told = abs(by.mean) > by.half_width
            held.append(by.mean > 0 if told else None)
            parts.append(
                f"{name}: {np.mean(far):.4g} for {truncated.label} and {np.mean(near):.4g} for {binomial.label} in "
                f"{_UNITS[name]}, a difference of {by.mean:.4g} ± {by.half_width:.4g} (95 %)"
            )
        verdict = None if None in held else all(held)
        if verdict is None and False in held:
            verdict = False
        return [
            Finding(
                "The convergence of BinomMAML aligns better with MAML than that of TruncMAML.",
                f"Root mean square distance to MAML's smoothed curve, mean of {len(settings.seeds)} seeds: "
                f"{'; '.join(parts)}.".replace(" -", " −"),
                verdict,
            )
        ]


def smoothed(record: Record, name: str) -> tuple[Curve, Curve]:
    """Meta-steps and running means over the last twentieth of the run; accuracies in percent."""
    values = np.asarray(record[name], dtype=np.float64) * (100 if name == "accuracies" else 1)
    window = max(1, len(values) // _WINDOWS)
    return np.arange(window, len(values) + 1, dtype=np.float64), np.convolve(values, np.ones(window) / window, "valid")


def _distances(settings: AccuracySettings, records: Records, method: Method, name: str) -> list[float]:
    """To MAML's curve, seed by seed; of runs that diverged as far as both went."""
    data, maml = settings.data_sets[0], settings.methods[-1]
    pairs = zip(of(records, data, method), of(records, data, maml), strict=True)
    curves = [(smoothed(one, name)[1], smoothed(other, name)[1]) for one, other in pairs]
    shared = [(one[: len(other)], other[: len(one)]) for one, other in curves]
    return [float(np.sqrt(np.mean((one - other) ** 2))) for one, other in shared]


STUDY = Curves()
