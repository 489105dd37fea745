"""What error-grid measures under, and its records by place of the grid."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from metagrad_studies.core import Records
from metagrad_studies.error_vs_order.records import FAMILIES, LEARNED

BINOMIALS = ("Binomial", "Binomial-paper", "Binomial-auto")
OTHERS = ("Binomial", "Truncated", "Binomial-paper")
"""Families that center="auto" is compared with."""

NAMES: Mapping[str, str] = {**FAMILIES, **dict(zip(LEARNED, LEARNED, strict=True))}


@dataclass(frozen=True)
class GridNetwork:
    """One network on one task distribution, at every combination of its settings."""

    name: str  # of the preset that it was taken from, or of the network
    experiment: Mapping[str, Any]  # all of its numbers, as config.json holds them, but for those below
    alphas: tuple[float, ...]  # inner step sizes
    num_steps: tuple[int, ...]  # K
    stages: tuple[int, ...]  # meta-steps of training with Exact after which it is measured
    tasks: int  # held-out tasks on which, for each seed
    probes: int  # training tasks on which `Auto` decides
    tasks_at_once: int  # held-out tasks side by side


@dataclass(frozen=True)
class Bars:
    """How good is good enough."""

    of_plain: float = 0.5  # largest median over the grid of the error with center "auto" over that of plain,
    plain_above: float = 0.02  # where the latter is above this
    of_truncated: float = 0.6  # the same over the error of `Truncated`, everywhere,
    of_paper: float = 0.7  # and over that with scale "paper"
    of_best: float = 1.1  # largest share of the best of the three's error,
    nearly_all: float = 0.9  # in at least this share of the grid
    within: float = 3.0  # factor between an estimator's own estimate of its error and the error, in as large a share
    tolerance: float = 0.1  # of `Auto`
    rounding: float = 1e-9  # errors below this count as equal


@dataclass(frozen=True)
class GridSettings:
    """Every number of the study."""

    networks: tuple[GridNetwork, ...]  # what is measured
    seeds: tuple[int, ...]  # of weights and training tasks; each has its own held-out tasks
    task_seed: int = 7000  # of the held-out tasks, plus the seed
    probe_seed: int = 8000  # of the tasks on which `Auto` decides, plus the seed
    bars: Bars = Bars()  # what the findings are judged by


class Place(NamedTuple):
    """A cell of the grid, all seeds together."""

    network: str
    alpha: float
    num_steps: int
    meta_steps: int

    def __str__(self) -> str:
        return f"{self.network}, α = {self.alpha:g}, K = {self.num_steps}, {self.meta_steps} meta-steps"


@dataclass
class Entry:
    """One estimator at one place: all tasks of all seeds."""

    products: int  # curvature products a task
    rounds: int  # of them, one after another
    errors: list[float] = field(default_factory=list[float])  # of single tasks; infinite where the estimate is
    own: list[float] = field(default_factory=list[float])  # what the estimator says of each; empty if nothing

    @property
    def error(self) -> float:
        return median(self.errors)

    @property
    def own_over_measured(self) -> float:
        """Median over tasks of the error's estimate over the error; tasks without an error are left out."""
        ratios = [own / error for own, error in zip(self.own, self.errors, strict=True) if 0 < error < math.inf]
        return median(ratios) if ratios else math.nan


class Chosen(NamedTuple):
    """What `Auto` chose at one place with one seed."""

    estimator: str
    errors: list[float]
    products: int
    rounds: int


Ratios = dict[tuple[Place, int], float]  # By place and order


@dataclass
class Grid:
    """Records by place."""

    entries: dict[Place, dict[tuple[str, int], Entry]] = field(default_factory=dict)  # there by (family, order)
    chosen: dict[Place, list[Chosen]] = field(default_factory=dict)  # one a seed

    @staticmethod
    def of(records: Records) -> "Grid":
        """Places without a single finite exact meta-gradient are left out."""
        grid = Grid()
        for r in records:
            place = Place(r["network"], r["alpha"], r["num_steps"], r["meta_steps"])
            errors = [math.inf if error is None else error for error in r["errors"]]
            if not errors:
                continue
            if r["kind"] == "auto":
                grid.chosen.setdefault(place, []).append(Chosen(r["estimator"], errors, r["products"], r["rounds"]))
                continue
            here = grid.entries.setdefault(place, {})
            entry = here.setdefault((r["family"], r["order"]), Entry(r["products"], r["rounds"]))
            entry.errors += errors
            entry.own += [math.inf if own is None else own for own in r["own"] or []]
        return grid

    def at(self, network: str, num_steps: int | None = None) -> "Grid":
        """The part of one network, and where given of one K."""
        places = [p for p in self.entries if p.network == network and num_steps in (None, p.num_steps)]
        return Grid({place: self.entries[place] for place in places})

    def ratios(self, bars: Bars, family: str, against: str = "Binomial-auto") -> Ratios:
        """Error of `against` over that of another family, for every place and order from 2 on."""
        return {
            (place, order): max(entry.error, bars.rounding) / max(here[family, order].error, bars.rounding)
            for place, here in self.entries.items()
            for (name, order), entry in here.items()
            if name == against and order > 1
        }

    def over_best(self, bars: Bars) -> Ratios:
        """Error with center "auto" over that of the best of the three others."""
        each = [self.ratios(bars, family) for family in OTHERS]
        return {key: max(ratios[key] for ratios in each) for key in each[0]}

    def delivered(self, place: Place) -> float:
        """Median error of what `Auto` chose, over the tasks of all seeds."""
        return median(error for choice in self.chosen[place] for error in choice.errors)

    def fewest_rounds(self, place: Place, tolerance: float) -> int:
        """Of all estimators with no more products than Exact and a median error within the tolerance; K for Exact."""
        fitting = [
            entry.rounds
            for entry in self.entries[place].values()
            if entry.products <= place.num_steps and entry.error <= tolerance
        ]
        return min([place.num_steps, *fitting])

    def estimates_within(self, bars: Bars, families: Sequence[str], most: float = math.inf) -> tuple[int, int]:
        """Of families, where the error is above rounding, at `most`: how many own estimates are near, of how many."""
        ratios = [
            entry.own_over_measured
            for here in self.entries.values()
            for (family, _), entry in here.items()
            if family in families and bars.rounding < entry.error <= most
        ]
        return sum(1 / bars.within <= ratio <= bars.within for ratio in ratios), len(ratios)
