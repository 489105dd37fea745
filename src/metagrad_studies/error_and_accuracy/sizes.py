"""Data sets, lengths of training and orders of error-and-accuracy at each size."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from metagrad import SGD
from metagrad.experiments.config import Experiment
from metagrad.experiments.presets import PRESETS
from metagrad.experiments.problems import OmniglotClassification
from metagrad_studies.accuracy.sizes import (
    CIFAR,
    MNIST1D,
    OMNIGLOT5,
    OMNIGLOT20,
    SINUSOID,
    TEST_SEED,
    TITLES,
    available,
    reduced,
)
from metagrad_studies.accuracy.tables import DataSet
from metagrad_studies.core import Request

_GENERATED = (SINUSOID, MNIST1D)

ORDERS: Mapping[str, tuple[int, ...]] = {"small": (2,), "medium": (2,), "full": (1, 2, 3, 4)}
"""L of every estimator that has one."""

_ALPHA = 0.1
"""Of convolutional networks: MAML's on Omniglot. Half of it, the presets', hardly needs second derivatives."""

_OTHER_ALPHAS = (0.01, 0.4)

_PROBES, _VALIDATIONS = 20, 4  # of a run, at regular intervals


class _Set(NamedTuple):
    """A preset's tasks for a number of meta-steps, validation tasks and test tasks."""

    preset: str
    alpha: float | None  # inner step size; None for the preset's
    meta_steps: int
    validation: int
    test: int
    schedule: Literal["constant", "cosine"] | None = None  # of the meta learning rate; None for that of the network
    again: str = ""  # what tells it from a set before it of the same preset and α, for keys and titles
    filters: int | None = None  # width of a narrow network; None for that of the small size

    @property
    def key(self) -> str:
        """The preset's name, with α where it is not the one that the data set is usually trained at."""
        alpha = f"-alpha={self.alpha:g}" if self.alpha in _OTHER_ALPHAS else ""
        return self.preset + alpha + (f"-{self.again.replace(' ', '-')}" if self.again else "")

    @property
    def title(self) -> str:
        """For tables."""
        alpha = f", α = {self.alpha:g}" if self.alpha in _OTHER_ALPHAS else ""
        return TITLES[self.preset] + alpha + (f", {self.again}" if self.again else "")


_SETS: Mapping[str, Sequence[_Set]] = {
    "small": (
        _Set(SINUSOID, None, 1000, 100, 300),
        _Set(MNIST1D, None, 400, 100, 300),
        _Set(OMNIGLOT20, _ALPHA, 200, 20, 100),
    ),
    "medium": (
        _Set(SINUSOID, None, 2500, 200, 600),
        _Set(MNIST1D, None, 1500, 200, 600),
        _Set(OMNIGLOT20, _ALPHA, 2000, 100, 600, schedule="cosine"),
        _Set(OMNIGLOT20, _ALPHA, 2000, 100, 600, again="constant rate"),
        _Set(OMNIGLOT20, _ALPHA, 2000, 100, 600, schedule="cosine", again="16 filters", filters=16),
        *(_Set(OMNIGLOT20, alpha, 500, 100, 600) for alpha in _OTHER_ALPHAS),
        *(_Set(name, _ALPHA, 500, 100, 600) for name in (OMNIGLOT5, CIFAR)),
    ),
    "full": (
        _Set(SINUSOID, None, 5000, 200, 600),
        _Set(MNIST1D, None, 3000, 200, 600),
        *(_Set(OMNIGLOT20, alpha, 2000, 100, 600) for alpha in (_ALPHA, *_OTHER_ALPHAS)),
        *(_Set(name, _ALPHA, 2000, 100, 600) for name in (OMNIGLOT5, CIFAR)),
    ),
}


def data_sets(request: Request, source: str) -> tuple[tuple[DataSet, ...], tuple[str, ...]]:
    """The data sets of a size that the user has, and the titles of those that they do not have.

    Raises:
        ValueError: full size without data.
    """
    if request.data is None and request.scale == "full":
        images = ", ".join(which.title for which in _SETS["full"] if which.preset not in _GENERATED)
        raise ValueError(f"{source} at full size needs --data DIR with {images}; --scale small needs no data")
    return among(request, [which.key for which in _SETS[request.scale]])


def among(request: Request, keys: Collection[str]) -> tuple[tuple[DataSet, ...], tuple[str, ...]]:
    """As `data_sets`, of these keys alone; what is generated is always there, at full size too."""
    full, wanted = request.scale == "full", [which for which in _SETS[request.scale] if which.key in keys]
    generated = tuple(_data_set(which, full) for which in wanted if which.preset in _GENERATED)
    images = [_data_set(which, full) for which in wanted if which.preset not in _GENERATED]
    if request.data is None:
        return generated, tuple(data.title for data in images)
    present, missing = available(images, request.data)
    return (*generated, *present), tuple(missing)


def _data_set(which: _Set, full: bool) -> DataSet:
    config = PRESETS[which.preset]()
    if which.alpha is not None:
        # Narrow networks with strides but at full size: there a meta-step as written takes a tenth of a second or two.
        config = replace(config if full else reduced(config, "small"), rule=SGD(lr=which.alpha))
    if which.filters is not None:
        assert isinstance(config.problem, OmniglotClassification)
        # Compiled, twice as fast as written; narrower ones gain less than compiling takes.
        machine = replace(config.machine, capture="pieces")
        config = replace(config, problem=replace(config.problem, filters=which.filters), machine=machine)
    if which.schedule is not None:
        config = replace(config, optimizer=replace(config.optimizer, schedule=which.schedule))
    return DataSet(which.title, which.key, _lasting(config, which).to_json())


def _lasting(config: Experiment, which: _Set) -> Experiment:
    """At that length, tested after the inner steps of training, for which errors are measured too."""
    return replace(
        config,
        meta_steps=which.meta_steps,
        checkpoint_every=which.meta_steps,
        probe_every=which.meta_steps // _PROBES,
        validation=replace(config.validation, every=which.meta_steps // _VALIDATIONS, tasks=which.validation),
        test=replace(config.test, tasks=which.test, steps=config.num_steps, seed=TEST_SEED),
        # One thread, also in another number of processes: the same sums in the same order.
        machine=replace(config.machine, threads=1),
    )
