"""What error-vs-order measures under, and how its records are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad_studies.core.records import Record, Records


@dataclass(frozen=True)
class Network:
    """One network on one task distribution.

    Args:
        name: of the preset that it was taken from.
        experiment: all of its numbers, as config.json holds them.
        stages: meta-steps of training after which it is measured, ascending.
        tasks: training tasks on which.
        tasks_at_once: of these side by side.
        lanczos_iterations: curvature products a link for the extreme eigenvalues.
    """

    name: str
    experiment: Mapping[str, Any]
    stages: tuple[int, ...]
    tasks: int
    tasks_at_once: int
    lanczos_iterations: int

    @property
    def num_steps(self) -> int:
        """K."""
        return self.experiment["num_steps"]


@dataclass(frozen=True)
class NetworkErrorsSettings:
    """Every number of the study.

    Args:
        networks: what is measured.
        task_seed: of the tasks on which errors and curvature are measured.
        lanczos_seed: of the first direction.
        gentle: K·αλ_max below which the expansion should behave.
        steep: K·αλ_max above which it should overshoot.
        least_tasks: fewer of either kind and nothing is said.
    """

    networks: tuple[Network, ...]
    task_seed: int
    lanczos_seed: int
    gentle: float
    steep: float
    least_tasks: int


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
