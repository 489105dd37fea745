"""Settings of studies that compare accuracies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from metagrad_studies.accuracy.methods import Method


@dataclass(frozen=True)
class DataSet:
    """Tasks, with all that the methods share on them.

    Args:
        title: for tables.
        key: for names of directories.
        config: the complete experiment, as `Experiment.to_json` gives it; method and seed replace what is theirs.
    """

    title: str
    key: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class AccuracySettings:
    """What is trained, on what, how often.

    Args:
        data_sets: where, and for how long.
        methods: the rows; the one named MAML is what the others are compared with.
        seeds: of weights and training tasks; every method gets each.
        spread: what stands behind ±: our 95 % intervals over seeds and tasks, or the standard errors over tasks that
            the paper prints.
        not_found: data sets of this size that the directory of data does not have.
    """

    data_sets: tuple[DataSet, ...]
    methods: tuple[Method, ...]
    seeds: tuple[int, ...]
    spread: Literal["95 % interval", "standard error"]
    not_found: tuple[str, ...]
