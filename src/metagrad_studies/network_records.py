"""What error-vs-order measures under, and how its records are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metagrad.estimators import Binomial, FirstOrder, Truncated
from metagrad.estimators.base import Pullback
from metagrad_studies.study import Record

FAMILIES: Mapping[str, str] = {
    "Truncated": "Truncated",
    "Binomial": "Binomial",
    "Binomial-paper": 'Binomial, scale="paper"',
    "Binomial-auto": 'Binomial, center="auto"',
}
"""Words for each line of the figure; every one of them begins at FirstOrder."""


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


def asked(num_steps: int) -> dict[tuple[str, int], Pullback]:
    """Every estimator by (family, order)."""
    orders = range(1, num_steps)
    return {
        ("FirstOrder", 0): FirstOrder(),
        **{("Truncated", order): Truncated(order) for order in orders},
        **{("Binomial", order): Binomial(order) for order in orders},
        **{("Binomial-paper", order): Binomial(order, scale="paper") for order in orders},
        **{("Binomial-auto", order): Binomial(order, center="auto") for order in orders},
    }


def steps(network: Network) -> int:
    """K."""
    return network.experiment["num_steps"]


def row(records: Sequence[Record], name: str, stage: int, family: str, order: int) -> Record:
    """The record of one estimator; order 0 is FirstOrder in every family."""
    wanted = (name, stage, family if order else "FirstOrder", order)
    return next(
        r
        for r in records
        if r["kind"] == "error" and (r["network"], r["meta_steps"], r["family"], r["order"]) == wanted
    )


def errors(records: Sequence[Record], network: Network, stage: int, family: str) -> list[list[float]]:
    """Relative errors of each task, for orders 0 … K − 1."""
    return [row(records, network.name, stage, family, order)["errors"] for order in range(steps(network))]


def spectrum(records: Sequence[Record], name: str, stage: int) -> list[Record]:
    """The record of each inner step, first step first."""
    return [r for r in records if r["kind"] == "spectrum" and (r["network"], r["meta_steps"]) == (name, stage)]


def steepness(records: Sequence[Record], network: Network, stage: int) -> list[float]:
    """K·αλ_max of each task, λ_max the largest eigenvalue met at any of its inner steps."""
    columns = [r["highs"] for r in spectrum(records, network.name, stage)]
    return [steps(network) * max(column[t] for column in columns) for t in range(network.tasks)]
