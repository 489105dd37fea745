"""Data sets and lengths of training at each size of the accuracy studies."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from metagrad import SGD
from metagrad.data.images import ImageEpisodes
from metagrad.experiments import session
from metagrad.experiments.config import Experiment, Optimizer
from metagrad.experiments.presets import PRESETS
from metagrad.experiments.problems import ImageClassification, OmniglotClassification
from metagrad_studies.accuracy.tables import DataSet
from metagrad_studies.core import Request

SINUSOID, MNIST1D, CIFAR = "sinusoid", "mnist1d-5way-1shot", "cifar-fs-5way-1shot"
OMNIGLOT5, OMNIGLOT20 = "omniglot-5way-1shot", "omniglot-20way-1shot"
_PAPER = {
    "mini-imagenet-5way-1shot": "miniImageNet 5-way 1-shot",
    "mini-imagenet-5way-5shot": "miniImageNet 5-way 5-shot",
    "tiered-imagenet-5way-1shot": "tieredImageNet 5-way 1-shot",
    "tiered-imagenet-5way-5shot": "tieredImageNet 5-way 5-shot",
    OMNIGLOT20: "Omniglot 20-way 1-shot",
}
TITLES: Mapping[str, str] = {
    **_PAPER,
    CIFAR: "CIFAR-FS 5-way 1-shot",
    MNIST1D: "MNIST-1D 5-way 1-shot",
    OMNIGLOT5: "Omniglot 5-way 1-shot",
    SINUSOID: "Sinusoid",
}
"""By the name of the preset that a data set starts from."""

TEST_SEED = 3
"""Of the test tasks at reduced sizes: their rates were chosen with a look at tasks of the presets' seed, 2."""

_IN_CIFAR_100 = 600  # images of a class


def data_sets(request: Request, source: str) -> tuple[tuple[DataSet, ...], tuple[str, ...]]:
    """The data sets of a size that the user has, and the titles of those that they do not have.

    Without a directory of data, small and medium sizes are measured on generated signals.

    Raises:
        ValueError: full size without data, or a directory that has none of the sets.
    """
    full = request.scale == "full"
    if request.data is None:
        if full:
            raise ValueError(
                f"{source} at full size needs --data DIR with one of {', '.join(_PAPER.values())}; --scale small needs "
                "no data"
            )
        return (_data_set(MNIST1D, request),), ()
    names = _PAPER if full else (OMNIGLOT20, CIFAR)
    present, missing = available([_data_set(name, request) for name in names], request.data)
    if not present:
        raise ValueError("; ".join(f"{title}: {reason}" for title, reason in missing.items()))
    return present, tuple(missing)


def available(sets: Sequence[DataSet], directory: str) -> tuple[tuple[DataSet, ...], Mapping[str, str]]:
    """Those that the directory of data has, and why it has not the others, by title."""
    present: list[DataSet] = []
    missing: dict[str, str] = {}
    for data in sets:
        try:
            present.append(_titled_by_size(data, directory))
        except ValueError as error:
            missing[data.title] = str(error)
    return tuple(present), missing


def lasting(config: Mapping[str, Any], meta_steps: int) -> Mapping[str, Any]:
    """The experiment at another length, validated as often over the whole of it."""
    was = Experiment.from_json(config)
    every = max(1, was.validation.every * meta_steps // was.meta_steps)
    validation = replace(was.validation, every=every)
    return replace(was, meta_steps=meta_steps, checkpoint_every=meta_steps, validation=validation).to_json()


def _data_set(name: str, request: Request) -> DataSet:
    config = PRESETS[name]()
    if request.scale != "full":
        config = reduced(config, request.scale)
    elif isinstance(config.problem, OmniglotClassification):
        # MAML's inner loop and meta-batch for 20 ways, at the length of the other sets.
        problem = replace(config.problem, filters=64)
        config = replace(config, problem=problem, rule=SGD(lr=0.1), meta_steps=20000, meta_batch=16)
    if request.as_published:
        # As many query images of a class as shots; training and validation keep theirs.
        problem: Any = config.problem
        config = replace(config, problem=replace(problem, test_queries=problem.shots))
    return DataSet(TITLES[name], name, config.to_json())


def _titled_by_size(data: DataSet, directory: str) -> DataSet:
    """The data set, after a look at its files; a part of CIFAR-100 is called one."""
    source = session.with_data(Experiment.from_json(data.config), directory).problem.sources(torch.device("cpu")).train
    images = int(source.pool.counts.min()) if isinstance(source, ImageEpisodes) else _IN_CIFAR_100
    if data.key.startswith("cifar") and images < _IN_CIFAR_100:
        return replace(data, title=f"{data.title} ({images} images a class)")
    return data


def reduced(config: Experiment, scale: str) -> Experiment:
    """For CPU cores: narrow networks, strides in place of max-pooling, and few meta-steps at a larger rate."""
    sizes = {"small": (100, 8, 100, 20), "medium": (300, 16, 200, 50)}
    meta_steps, filters, test_tasks, validation_tasks = sizes[scale]
    problem, rule = config.problem, config.rule
    if isinstance(problem, OmniglotClassification):
        # After 100 meta-steps 48 % with MAML and 43 % with FOMAML at this rate, 38 % and 33 % at 0.1.
        problem, rule = replace(problem, filters=filters, pooling="stride", test_queries=5), SGD(lr=0.4)
    elif isinstance(problem, ImageClassification):
        problem, rule = replace(problem, filters=filters, pooling="stride"), SGD(lr=0.1)
    return replace(
        config,
        problem=problem,
        rule=rule,
        meta_steps=meta_steps,
        meta_batch=4,
        checkpoint_every=meta_steps,
        optimizer=Optimizer(name="adam", lr=1e-2, momentum=0.9, clip=1.0, schedule="constant"),
        validation=replace(config.validation, every=meta_steps // 4, tasks=validation_tasks),
        test=replace(config.test, tasks=test_tasks, seed=TEST_SEED),
        # One thread, also in another number of processes: the same sums in the same order.
        machine=replace(config.machine, device="cpu", threads=1, evaluation_chunk=10, capture="off"),
    )
