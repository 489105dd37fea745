"""What error-vs-order measures, by family and order, under which settings; how its records are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from metagrad import FirstOrder
from metagrad.estimators import families
from metagrad.estimators.base import Pullback
from metagrad_studies.core import Record, Records

FAMILIES: Mapping[str, str] = {
    "Truncated": "Truncated",
    "Binomial": "Binomial",
    "Binomial-paper": 'Binomial, scale="paper"',
    "Binomial-auto": 'Binomial, center="auto"',
}
"""Words for each line of the figure; every one of them begins at FirstOrder."""

LEARNED = ("Grouped", "Parallel")
"""Families that learn a center as well; their order is the number of groups and of rounds."""


def by_order(num_steps: int, *of: str) -> dict[tuple[str, int], Pullback]:
    """FirstOrder as order 0, and orders 1 … K − 1 of each family, by (family, order)."""
    named = {family.name: family for family in families.families()}
    ordered = {
        (family, order): cast(Pullback, named[FAMILIES.get(family, family)].member(order))
        for family in of
        for order in range(1, num_steps)
    }
    return {("FirstOrder", 0): FirstOrder(), **ordered}


@dataclass(frozen=True)
class Network:
    """One network on one task distribution."""

    name: str  # of the preset that it was taken from
    experiment: Mapping[str, Any]  # all of its numbers, as config.json holds them
    stages: tuple[int, ...]  # meta-steps of training after which it is measured, ascending
    tasks: int  # training tasks on which
    tasks_at_once: int  # of these side by side
    lanczos_iterations: int  # curvature products a link for the extreme eigenvalues

    @property
    def num_steps(self) -> int:
        return self.experiment["num_steps"]


@dataclass(frozen=True)
class NetworkErrorsSettings:
    """Every number of the study."""

    networks: tuple[Network, ...]  # what is measured
    task_seed: int = 5000  # of the tasks on which errors and curvature are measured
    lanczos_seed: int = 6000  # of the first direction
    gentle: float = 2.0  # K·αλ_max below which the expansion should behave
    steep: float = 3.0  # K·αλ_max above which it should overshoot
    least_tasks: int = 10  # fewer of either kind and nothing is said


class Place(NamedTuple):
    """A network after some meta-steps, with what was measured there."""

    network: Network
    stage: int
    records: Records

    def row(self, family: str, order: int) -> Record:
        """The record of one estimator; order 0 is FirstOrder in every family."""
        return self.records.one(kind="error", family=family if order else "FirstOrder", order=order)

    def errors(self, family: str) -> list[list[float]]:
        """Relative errors of each task, for orders 0 … K − 1."""
        return [self.row(family, order)["errors"] for order in range(self.network.num_steps)]

    def spectrum(self) -> Records:
        """The record of each inner step, first step first."""
        return self.records.where(kind="spectrum")

    def steepness(self) -> list[float]:
        """K·αλ_max of each task, λ_max the largest eigenvalue met at any of its inner steps."""
        return [self.network.num_steps * max(highs) for highs in zip(*self.spectrum().column("highs"), strict=True)]

    def __str__(self) -> str:
        return f"{self.network.name} after {self.stage} meta-steps"


def places(settings: NetworkErrorsSettings, records: Records, *networks: Network) -> list[Place]:
    """All networks and stages, or those of some networks."""
    return [
        Place(network, stage, records.where(network=network.name, meta_steps=stage))
        for network in networks or settings.networks
        for stage in network.stages
    ]
