"""What error-grid measures under, and how its records are read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from metagrad_studies.network_records import FAMILIES
from metagrad_studies.study import Record

BINOMIALS = ("Binomial", "Binomial-paper", "Binomial-auto")
LEARNED = ("Grouped", "Parallel")
"""Families that learn a center as well; their order is the number of groups and of rounds."""

NAMES: Mapping[str, str] = {**FAMILIES, "Grouped": "Grouped", "Parallel": "Parallel"}

OTHERS = ("Binomial", "Truncated", "Binomial-paper")
"""Families that center="auto" is held against."""


@dataclass(frozen=True)
class GridNetwork:
    """One network on one task distribution, at every combination of its settings.

    Args:
        name: of the preset that it was taken from.
        experiment: all of its numbers, as config.json holds them, but for those below.
        alphas: inner step sizes.
        num_steps: K.
        stages: meta-steps of training with Exact after which it is measured.
        tasks: held-out tasks on which, for each seed.
        probes: training tasks on which `Auto` decides.
        tasks_at_once: held-out tasks side by side.
    """

    name: str
    experiment: Mapping[str, Any]
    alphas: tuple[float, ...]
    num_steps: tuple[int, ...]
    stages: tuple[int, ...]
    tasks: int
    probes: int
    tasks_at_once: int


@dataclass(frozen=True)
class Bars:
    """How good is good enough.

    Args:
        of_plain: largest median over the grid of the error with center "auto" over that of the plain expansion,
        plain_above: where the latter is above this.
        of_truncated: the same over the error of `Truncated`, everywhere,
        of_paper: and over that with scale "paper".
        of_best: largest share of the best of the three's error,
        nearly_all: in at least this share of the grid.
        within: factor between an estimator's own estimate of its error and the error, in as large a share.
        tolerance: of `Auto`.
        rounding: errors below this count as equal.
    """

    of_plain: float
    plain_above: float
    of_truncated: float
    of_paper: float
    of_best: float
    nearly_all: float
    within: float
    tolerance: float
    rounding: float


@dataclass(frozen=True)
class ErrorGridSettings:
    """Every number of the study.

    Args:
        networks: what is measured.
        seeds: of weights and training tasks; each has its own held-out tasks.
        task_seed: of the held-out tasks, plus the seed.
        probe_seed: of the tasks on which `Auto` decides, plus the seed.
        bars: what the findings are judged by.
    """

    networks: tuple[GridNetwork, ...]
    seeds: tuple[int, ...]
    task_seed: int
    probe_seed: int
    bars: Bars


class Place(NamedTuple):
    """A cell of the grid, all seeds together."""

    network: str
    alpha: float
    num_steps: int
    meta_steps: int


@dataclass
class Entry:
    """One estimator at one place: all tasks of all seeds.

    Attributes:
        errors: of single tasks; infinite where the estimate is not finite.
        own: what the estimator says of each; empty if nothing.
        products: curvature products a task.
        rounds: of them, one after another.
    """

    products: int
    rounds: int
    errors: list[float] = field(default_factory=list[float])
    own: list[float] = field(default_factory=list[float])

    @property
    def error(self) -> float:
        """Median over tasks."""
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


@dataclass
class Grid:
    """Records by place.

    Attributes:
        entries: by place, then by (family, order); every family begins at order 1.
        chosen: by place, one a seed.
    """

    entries: dict[Place, dict[tuple[str, int], Entry]] = field(default_factory=dict)
    chosen: dict[Place, list[Chosen]] = field(default_factory=dict)

    @staticmethod
    def of(records: Sequence[Record]) -> "Grid":
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

    def ratios(self, family: str, bars: Bars) -> dict[tuple[Place, int], float]:
        """Error with center "auto" over that of another family, for every place and order from 2 on."""
        return {
            (place, order): max(entry.error, bars.rounding) / max(here[family, order].error, bars.rounding)
            for place, here in self.entries.items()
            for (name, order), entry in here.items()
            if name == "Binomial-auto" and order > 1
        }

    def over_best(self, bars: Bars) -> dict[tuple[Place, int], float]:
        """Error with center "auto" over that of the best of the three others."""
        each = [self.ratios(family, bars) for family in OTHERS]
        return {key: max(ratios[key] for ratios in each) for key in each[0]}

    def fewest_rounds(self, place: Place, tolerance: float) -> int:
        """Of all estimators with no more products than Exact and a median error within the tolerance; K for Exact."""
        fitting = [
            entry.rounds
            for entry in self.entries[place].values()
            if entry.products <= place.num_steps and entry.error <= tolerance
        ]
        return min([place.num_steps, *fitting])
