"""The paper's Figure 5: how loss and accuracy go during meta-training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from metagrad_studies.accuracy.methods import FOMAML, Method, maml, ordered
from metagrad_studies.accuracy.sizes import data_sets, lasting
from metagrad_studies.accuracy.study import AccuracyStudy
from metagrad_studies.accuracy.tables import AccuracySettings, of
from metagrad_studies.core import Finding, Record, Records, Request
from metagrad_studies.core.plots import COLORS, label, panels
from metagrad_studies.core.verdicts import above, all_of, over_seeds

_STEPS, _ORDER = 5, 2
_META_STEPS = {"small": 200, "medium": 1000, "full": 1000}
_WINDOWS = 20  # a curve is smoothed over this part of its length
_UNITS = {"accuracies": "accuracy (%)", "losses": "loss (nats)"}

Curve = npt.NDArray[np.float64]


class Curves(AccuracyStudy[AccuracySettings]):
    """Query loss and accuracy of the training tasks at every meta-step, seeds and tasks shared by the methods."""

    name: ClassVar[str] = "fig5"
    title: ClassVar[str] = "Loss and accuracy during meta-training"
    source: ClassVar[str] = "BinomGBML (arXiv 2604.13263), Figure 5"
    choices: ClassVar[tuple[str, ...]] = (
        "The paper does not say which L; ours is 2. It draws the first 1000 meta-iterations on miniImageNet 5-way "
        "1-shot, as full size does here; smaller sizes take the first data set of table1's.",
        "The paper does not say how it smooths its curves, nor what “aligns” means. Ours are running means over a "
        "twentieth of the run; records hold the raw values. The distance between two smoothed curves is their root "
        "mean square difference. A method is compared with MAML of the same seed: same initial weights, same tasks.",
        "Three seeds, where the paper draws one run. Binomial with α' = α·L/K, as the paper's runs on real data.",
    )

    def settings(self, request: Request) -> AccuracySettings:
        [first, *_], missing = data_sets(request, self.name)
        return AccuracySettings(
            data_sets=(replace(first, config=lasting(first.config, _META_STEPS[request.scale])),),
            methods=(FOMAML, *ordered(_ORDER, "Truncated", "Binomial L/K"), maml(_STEPS)),
            not_found=missing,
        )

    def extra(self, metrics: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        steps = [entry for entry in metrics if entry["kind"] == "train"]
        return {"losses": [step["loss"] for step in steps], "accuracies": [step["accuracy"] for step in steps]}

    def figure(self, settings: AccuracySettings, records: Records) -> Figure:
        figure, [row] = panels(1, 2, 10.5, 3.9)
        for axes, name in zip(row, _UNITS, strict=True):
            for method in settings.methods:
                curves = [smoothed(record, name) for record in of(records, settings.data_sets[0], method)]
                shortest = min(len(steps) for steps, _ in curves)
                color = COLORS[method.family]
                for steps, values in curves:
                    axes.plot(steps, values, color=color, linewidth=0.6, alpha=0.4)
                mean = np.mean([values[:shortest] for _, values in curves], axis=0)
                axes.plot(curves[0][0][:shortest], mean, color=color, linewidth=1.8, label=method.label)
            label(axes, "meta-steps", f"query {_UNITS[name]} of training tasks")
        row[0].legend(frameon=False, fontsize=9)
        figure.suptitle(
            f"{settings.data_sets[0].title}: means of {len(settings.seeds)} seeds (thin: each)", fontsize=10
        )
        return figure

    def findings(self, settings: AccuracySettings, records: Records) -> Sequence[Finding]:
        truncated, binomial = settings.methods[1], settings.methods[2]
        verdicts: list[bool | None] = []
        parts: list[str] = []
        for name in ("losses", "accuracies"):
            far, near = (_distances(settings, records, method, name) for method in (truncated, binomial))
            by = over_seeds([a - b for a, b in zip(far, near, strict=True)])
            verdicts.append(above(by))
            parts.append(
                f"{name}: {np.mean(far):.4g} for {truncated.label} and {np.mean(near):.4g} for {binomial.label} in "
                f"{_UNITS[name]}, a difference of {by.mean:.4g} ± {by.half_width:.4g} (95 %)"
            )
        return [
            Finding(
                "The convergence of BinomMAML aligns better with MAML than that of TruncMAML.",
                f"Root mean square distance to MAML's smoothed curve, mean of {len(settings.seeds)} seeds: "
                f"{'; '.join(parts)}.".replace(" -", " −"),
                all_of(verdicts),
            )
        ]


def smoothed(record: Record, name: str) -> tuple[Curve, Curve]:
    """Meta-steps and running means over the last twentieth of the run; accuracies in percent."""
    values = np.asarray(record[name], dtype=np.float64) * (100 if name == "accuracies" else 1)
    window = max(1, len(values) // _WINDOWS)
    return np.arange(window, len(values) + 1, dtype=np.float64), np.convolve(values, np.ones(window) / window, "valid")


def _distances(settings: AccuracySettings, records: Records, method: Method, name: str) -> list[float]:
    """To MAML's curve, seed by seed; of runs that diverged as far as both went."""
    pairs = zip(*(of(records, settings.data_sets[0], each) for each in (method, settings.maml)), strict=True)
    curves = [(smoothed(one, name)[1], smoothed(other, name)[1]) for one, other in pairs]
    shared = [(one[: len(other)], other[: len(one)]) for one, other in curves]
    return [float(np.sqrt(np.mean((one - other) ** 2))) for one, other in shared]


STUDY = Curves()
