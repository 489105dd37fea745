"""Data sets, lengths of training and orders of error-and-accuracy at each size."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from metagrad.experiments.config import Experiment
from metagrad.experiments.presets import PRESETS
from metagrad.inner.rules import SGD
from metagrad.studies.accuracy_settings import DataSet
from metagrad.studies.accuracy_sizes import TEST_SEED, TITLES, available, reduced
from metagrad.studies.study import Asked, Scale

SINUSOID, MNIST1D, OMNIGLOT5, OMNIGLOT20, CIFAR = (
    "sinusoid",
    "mnist1d-5way-1shot",
    "omniglot-5way-1shot",
    "omniglot-20way-1shot",
    "cifar-fs-5way-1shot",
)
_TITLES: Mapping[str, str] = {**TITLES, SINUSOID: "Sinusoid", OMNIGLOT5: "Omniglot 5-way 1-shot"}

ORDERS: Mapping[Scale, tuple[int, ...]] = {"small": (2,), "medium": (1, 2), "full": (1, 2, 3, 4)}
"""L of every estimator that has one."""

_ALPHA = 0.1
"""Of convolutional networks: MAML's on Omniglot. Half of it, the presets', hardly needs second derivatives."""

_PROBES, _VALIDATIONS = 20, 4  # of a run, at regular intervals


class _Length(NamedTuple):
    """Meta-steps, validation tasks, test tasks."""

    meta_steps: int
    validation: int
    test: int


_LENGTHS: Mapping[Scale, Mapping[str, _Length]] = {
    "small": {
        SINUSOID: _Length(1000, 100, 300),
        MNIST1D: _Length(400, 100, 300),
        OMNIGLOT20: _Length(200, 20, 100),
    },
    "medium": {
        SINUSOID: _Length(2500, 200, 600),
        MNIST1D: _Length(1500, 200, 600),
        OMNIGLOT5: _Length(500, 100, 300),
        OMNIGLOT20: _Length(500, 50, 300),
        CIFAR: _Length(500, 100, 300),
    },
    "full": {
        SINUSOID: _Length(5000, 200, 600),
        MNIST1D: _Length(3000, 200, 600),
        OMNIGLOT5: _Length(2000, 100, 600),
        OMNIGLOT20: _Length(2000, 100, 600),
        CIFAR: _Length(2000, 100, 600),
    },
}


def data_sets(asked: Asked, source: str) -> tuple[tuple[DataSet, ...], tuple[str, ...]]:
    """The data sets of a size that the user has, and the titles of those that they do not have.

    Raises:
        ValueError: full size without data.
    """
    sets = [_data_set(name, asked.scale) for name in _LENGTHS[asked.scale]]
    generated = [data for data in sets if data.key in (SINUSOID, MNIST1D)]
    images = [data for data in sets if data not in generated]
    if asked.data is None:
        if asked.scale == "full":
            raise ValueError(
                f"{source} at full size needs --data DIR with {', '.join(data.title for data in images)}; "
                "--scale small needs no data"
            )
        return tuple(generated), tuple(data.title for data in images)
    found, missing = available(images, asked.data)
    return (*generated, *found), tuple(missing)


def _data_set(name: str, scale: Scale) -> DataSet:
    length = _LENGTHS[scale][name]
    config = PRESETS[name]()
    if name in (OMNIGLOT5, OMNIGLOT20, CIFAR):
        # Narrow networks with strides at small size only: there a meta-step as written takes a tenth of a second.
        config = replace(reduced(config, scale) if scale == "small" else config, rule=SGD(lr=_ALPHA))
    return DataSet(_TITLES[name], name, _lasting(config, length).to_json())


def _lasting(config: Experiment, length: _Length) -> Experiment:
    """At that length, tested after the inner steps of training, for which errors are measured too."""
    return replace(
        config,
        meta_steps=length.meta_steps,
        checkpoint_every=length.meta_steps,
        probe_every=length.meta_steps // _PROBES,
        validation=replace(config.validation, every=length.meta_steps // _VALIDATIONS, tasks=length.validation),
        test=replace(config.test, tasks=length.test, steps=config.num_steps, seed=TEST_SEED),
        # One thread, also in another number of processes: the same sums in the same order.
        machine=replace(config.machine, threads=1),
    )
