"""Data sets, lengths of training and orders of error-and-accuracy at each size."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from metagrad.experiments.config import Experiment
from metagrad.experiments.presets import PRESETS
from metagrad.experiments.problems import OmniglotClassification
from metagrad.rules import SGD
from metagrad_studies.accuracy.settings import DataSet
from metagrad_studies.accuracy.sizes import TEST_SEED, TITLES, available, reduced
from metagrad_studies.core.study import Request

SINUSOID, MNIST1D, OMNIGLOT5, OMNIGLOT20, CIFAR = (
    "sinusoid",
    "mnist1d-5way-1shot",
    "omniglot-5way-1shot",
    "omniglot-20way-1shot",
    "cifar-fs-5way-1shot",
)
_GENERATED = (SINUSOID, MNIST1D)
_TITLES: Mapping[str, str] = {**TITLES, SINUSOID: "Sinusoid", OMNIGLOT5: "Omniglot 5-way 1-shot"}

ORDERS: Mapping[str, tuple[int, ...]] = {"small": (2,), "medium": (2,), "full": (1, 2, 3, 4)}
"""L of every estimator that has one."""

_ALPHA = 0.1
"""Of convolutional networks: MAML's on Omniglot. Half of it, the presets', hardly needs second derivatives."""

_OTHER_ALPHAS = (0.01, 0.4)

Schedule = Literal["constant", "cosine"]

_PROBES, _VALIDATIONS = 20, 4  # of a run, at regular intervals


class _Set(NamedTuple):
    """A preset's tasks for a number of meta-steps, validation tasks and test tasks.

    Attributes:
        alpha: inner step size; None for the preset's.
        schedule: of the meta learning rate; None for that of the network, which is constant for narrow ones.
        again: what tells it from a set before it of the same preset and α, for keys and titles.
        filters: width of a narrow network; None for that of the small size.
    """

    preset: str
    alpha: float | None
    meta_steps: int
    validation: int
    test: int
    schedule: Schedule | None = None
    again: str = ""
    filters: int | None = None

    @property
    def key(self) -> str:
        """The preset's name, with α where it is not the one that the data set is usually trained at."""
        alpha = f"-alpha={self.alpha:g}" if self.alpha in _OTHER_ALPHAS else ""
        return self.preset + alpha + (f"-{self.again.replace(' ', '-')}" if self.again else "")

    @property
    def title(self) -> str:
        """For tables."""
        alpha = f", α = {self.alpha:g}" if self.alpha in _OTHER_ALPHAS else ""
        return _TITLES[self.preset] + alpha + (f", {self.again}" if self.again else "")


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
        _Set(OMNIGLOT5, _ALPHA, 500, 100, 600),
        _Set(CIFAR, _ALPHA, 500, 100, 600),
    ),
    "full": (
        _Set(SINUSOID, None, 5000, 200, 600),
        _Set(MNIST1D, None, 3000, 200, 600),
        *(_Set(OMNIGLOT20, alpha, 2000, 100, 600) for alpha in (_ALPHA, *_OTHER_ALPHAS)),
        _Set(OMNIGLOT5, _ALPHA, 2000, 100, 600),
        _Set(CIFAR, _ALPHA, 2000, 100, 600),
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
    wanted = [which for which in _SETS[request.scale] if which.key in keys]
    made = tuple(_data_set(which, request.scale) for which in wanted if which.preset in _GENERATED)
    images = [_data_set(which, request.scale) for which in wanted if which.preset not in _GENERATED]
    if request.data is None:
        return made, tuple(data.title for data in images)
    found, missing = available(images, request.data)
    return (*made, *found), tuple(missing)


def _data_set(which: _Set, scale: str) -> DataSet:
    config = PRESETS[which.preset]()
    if which.alpha is not None:
        # Narrow networks with strides but at full size: there a meta-step as written takes a tenth of a second or two.
        narrow = config if scale == "full" else reduced(config, "small")
        config = replace(narrow, rule=SGD(lr=which.alpha))
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
