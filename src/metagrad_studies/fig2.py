"""The paper's Figure 2: how far each estimator can be from exact, by its three theorems."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from metagrad import Binomial, FirstOrder, Truncated
from metagrad.estimators import families, theorem_3_6, theorem_3_8, theorem_3_10
from metagrad.estimators.base import Pullback
from metagrad_studies.core import Bench, Cell, Finding, Listing, Record, Records, Request, Study, listing
from metagrad_studies.core.plots import COLORS, label, panels

_TITLES = {
    "3.6": "theorem 3.6: Lipschitz gradients",
    "3.8": "theorem 3.8: convex",
    "3.10": "theorem 3.10: strongly convex at the last step",
}
_AGREEMENT = 1e-12


@dataclass(frozen=True)
class BoundsSettings:
    """K inner steps of size α, curvature at most H, at least h in the last M steps (theorem 3.10)."""

    num_steps: int = 5
    alpha: float = 0.25
    largest: float = 1.0
    smallest: float = 0.1
    convex_steps: int = 1


class Bounds(Study[BoundsSettings]):
    """The three bounds over L, and the closed forms that they equal."""

    name: ClassVar[str] = "fig2"
    title: ClassVar[str] = "Upper bounds on the error of a meta-gradient, over the order L"
    source: ClassVar[str] = "BinomGBML (arXiv 2604.13263), Figure 2"
    tiny: ClassVar[bool] = True
    choices: ClassVar[tuple[str, ...]] = (
        "Theorems 3.8 and 3.10 are drawn as printed. For Hessians that do not commute, errors can exceed the printed "
        "bounds of FirstOrder, and that of Truncated in 3.8. `metagrad.estimators.error_bound` has the correct ones; "
        "the derivation in our documentation proves them.",
        "L = 0 is FirstOrder in all three. Theorem 3.10 at M = 1 needs L of at least 1 for Truncated.",
    )

    def settings(self, request: Request) -> BoundsSettings:
        return BoundsSettings()

    def cells(self, settings: BoundsSettings) -> Sequence[Cell]:
        return [Cell(f"theorem-{name}", {"theorem": name}) for name in _TITLES]

    def measure(self, settings: BoundsSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """The bounds of one theorem, each with the closed form that it must equal."""
        estimators: list[tuple[int, Pullback]] = [(0, FirstOrder())]
        for order in range(1, settings.num_steps + 1):
            estimators += [(order, Truncated(order)), (order, Binomial(order))]
        return [
            {
                "estimator": families.family(estimator).name,
                "order": order,
                "bound": _bound(cell.values["theorem"], estimator, settings),
                "closed_form": _closed(cell.values["theorem"], families.family(estimator).name, order, settings),
            }
            for order, estimator in estimators
        ]

    def figure(self, settings: BoundsSettings, records: Records) -> Figure:
        figure, [row] = panels(1, len(_TITLES), 11.5, 3.8)
        for axes, (name, title) in zip(row, _TITLES.items(), strict=True):
            for family in ("FirstOrder", "Truncated", "Binomial"):
                line = records.where(theorem=name, estimator=family)
                color = COLORS[family]
                axes.plot(line.column("order"), line.column("bound"), color=color, marker="o", ms=4, label=family)
            label(axes, "order or window L", "bound on the error, relative to ‖g‖", title)
            axes.legend(frameon=False)
        return figure

    def listings(self, settings: BoundsSettings, records: Records) -> Sequence[Listing]:
        columns = [(name, family) for name in _TITLES for family in ("Truncated", "Binomial")]
        rows = [
            (order, *(f"{abs(_find(records, name, family, order)):.4g}" for name, family in columns))
            for order in range(settings.num_steps + 1)
        ]
        titles = (f"{family}, {name}" for name, family in columns)
        return [listing("Bounds relative to the outer gradient (L = 0 is FirstOrder)", ("L", *titles), rows)]

    def findings(self, settings: BoundsSettings, records: Records) -> Sequence[Finding]:
        pairs = [
            (_find(records, name, "Binomial", order), _find(records, name, "Truncated", order))
            for name in _TITLES
            for order in range(1, settings.num_steps)
        ]
        below = sum(binomial < truncated for binomial, truncated in pairs)
        apart = max(abs(record["bound"] - record["closed_form"]) for record in records)
        first = _find(records, "3.6", "Binomial", 1) / _find(records, "3.6", "Binomial", 0)
        return [
            Finding(
                "The bound of Binomial is below that of Truncated at every L, and falls swiftly.",
                f"Below at {below} of {len(pairs)} pairs (1 ≤ L < K); in theorem 3.6, L = 1 has {first:.2f} of the "
                "bound of FirstOrder.",
                below == len(pairs),
            ),
            Finding(
                "The curves are the closed forms of theorems 3.6, 3.8 and 3.10.",
                f"Largest difference to them, written out independently: {apart:.1e}.",
                apart <= _AGREEMENT,
            ),
        ]


def _bound(theorem: str, estimator: Pullback, settings: BoundsSettings) -> float:
    steps, most = settings.num_steps, settings.alpha * settings.largest
    if theorem == "3.10":
        return theorem_3_10(estimator, steps, most, settings.alpha * settings.smallest, settings.convex_steps)
    return (theorem_3_6 if theorem == "3.6" else theorem_3_8)(estimator, steps, most)


def _closed(theorem: str, family: str, order: int, settings: BoundsSettings) -> float:
    """The formulas of the paper, written out once more: powers and binomial coefficients as they are printed."""
    k, c = settings.num_steps, settings.alpha * settings.largest
    h, m = settings.alpha * settings.smallest, settings.convex_steps
    binomial, truncated = family == "Binomial", family == "Truncated"
    if theorem == "3.6":
        if binomial:
            return sum(math.comb(k, j) * c**j for j in range(order + 1, k + 1))
        return (1 + c) ** k - (1 + c) ** order
    if theorem == "3.8":
        return math.comb(k, order + 1) * c ** (order + 1) if binomial else 1 - (1 - c) ** (k - order)
    if binomial:
        late = sum(math.comb(k - j, order) * (1 - h) ** (j - 1) for j in range(1, m + 1))
        early = sum(math.comb(k - m, j) * c**j for j in range(order + 1, k - m + 1))
        return c ** (order + 1) * late + (1 - h) ** m * early
    if truncated:
        return ((1 + c) ** (k - m) - (1 + c) ** (order - m)) * (1 - h) ** m
    return max((1 + c) ** (k - m) * (1 - h) ** m - 1, 1 - (1 - c) ** k)


def _find(records: Records, theorem: str, family: str, order: int) -> float:
    """Order 0 of every family is FirstOrder."""
    return records.one(theorem=theorem, estimator=family if order else "FirstOrder", order=order)["bound"]


STUDY = Bounds()
