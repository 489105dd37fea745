"""Whether a smaller error of the meta-gradient makes a better learner: every estimator trained and probed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple

from metagrad import SGD
from metagrad.experiments.config import Experiment
from metagrad.experiments.presets import PRESETS
from metagrad.experiments.problems import OmniglotClassification
from metagrad.training import HeldOut
from metagrad_studies.accuracy.methods import FOMAML, Method, maml, ordered
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
from metagrad_studies.accuracy.study import AccuracyStudy
from metagrad_studies.accuracy.tables import DataSet
from metagrad_studies.core import Request
from metagrad_studies.error_and_accuracy.findings import ErrorAccuracySettings, Judged
from metagrad_studies.error_and_accuracy.plots import Pictured
from metagrad_studies.instruments.training import tested

_GENERATED = (SINUSOID, MNIST1D)

ORDERS: Mapping[str, tuple[int, ...]] = {"small": (2,), "medium": (2,), "full": (1, 2, 3, 4)}
"""L of every estimator that has one."""

_ALPHA = 0.1  # Of convolutional networks: MAML's on Omniglot. Half of it, the presets', hardly needs second derivatives

_OTHER_ALPHAS = (0.01, 0.4)

_STEPS, _PROBES, _VALIDATIONS = 5, 20, 4  # K of every data set here; of a run, at regular intervals


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


def among(request: Request, keys: Collection[str]) -> tuple[tuple[DataSet, ...], tuple[str, ...]]:
    """Of these keys, the data sets of a size that the user has, and the titles of those that they do not have."""
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
    config = replace(
        config,
        meta_steps=which.meta_steps,
        checkpoint_every=which.meta_steps,
        probe_every=which.meta_steps // _PROBES,
        validation=replace(config.validation, every=which.meta_steps // _VALIDATIONS, tasks=which.validation),
        # After the inner steps of training, for which errors are measured too.
        test=replace(config.test, tasks=which.test, steps=config.num_steps, seed=TEST_SEED),
        # One thread, also in another number of processes: the same sums in the same order.
        machine=replace(config.machine, threads=1),
    )
    return DataSet(which.title, which.key, config.to_json())


class ErrorAccuracy(Judged, Pictured, AccuracyStudy[ErrorAccuracySettings]):
    """Equal meta-steps, weights and tasks for every estimator; its true error is probed twenty times a run."""

    name: ClassVar[str] = "error-and-accuracy"
    title: ClassVar[str] = "Does a smaller error of the meta-gradient give better accuracy?"
    source: ClassVar[str] = "ours"
    choices: ClassVar[tuple[str, ...]] = (
        "Error: ‖estimate − exact‖ / ‖exact‖ of the first task of a meta-batch, probed twenty times along each run at "
        "the run's present weights. So every estimator is measured on its own path. Means are geometric, for errors "
        "span orders of magnitude. One probe of one task is noisy; the mean of twenty, over several seeds, is not.",
        "Results are those of the weights that were best on validation tasks, after the five inner steps of training.",
        "The share of the gap that a method closes is (method − FirstOrder) / (Exact − FirstOrder). Its verdict comes "
        "from method − FirstOrder − share·(Exact − FirstOrder), paired by seed and task: that difference has an "
        "interval, the ratio has none. Without a gap above 0 at 95 % there is no verdict.",
        "The time of a run is the median of its meta-steps' times their number; records also have the sum, first call "
        "included.",
        "α is 0.1 on Omniglot and CIFAR-FS, where curvature matters, and the presets' on the sinusoid and MNIST-1D. "
        "Verdicts on shares are about Omniglot 20-way 1-shot, and about the last data set where that is missing.",
        "Small and medium size: Omniglot and CIFAR-FS with Conv4 of 8 filters and strides in place of max-pooling, "
        "Adam at 1e-2. Small has 200 meta-steps, which show who learns faster and not where they end. Medium has "
        "2,000 on Omniglot 20-way 1-shot (at the preset's cosine, at a constant rate, and at the cosine with 16 "
        "filters), 500 at a constant rate there at α = 0.01 and 0.4 and on the other images, and 600 test tasks. Full "
        "size has the presets' networks and optimizers, 2,000 meta-steps on images, orders 1 to 4.",
    )

    def settings(self, request: Request) -> ErrorAccuracySettings:
        sets = _SETS[request.scale]
        if request.data is None and request.scale == "full":
            images = ", ".join(which.title for which in sets if which.preset not in _GENERATED)
            raise ValueError(f"{self.name} at full size needs --data DIR with {images}; --scale small needs no data")
        present, missing = among(request, [which.key for which in sets])
        return ErrorAccuracySettings(
            data_sets=present,
            methods=rows(ORDERS[request.scale]),
            not_found=missing,
            deciding=next((data.title for data in present if data.key == OMNIGLOT20), present[-1].title),
        )

    def scores(self, result: HeldOut, config: Experiment) -> Mapping[str, Any]:
        """Loss, and accuracy where there is one, of every task."""
        each = [tested(result, name, config.test.steps) for name in result.values]
        return {field: value for fields in each for field, value in fields.items()}

    def extra(self, metrics: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Errors along training, and its seconds, probes and validations not counted."""
        probes = [entry for entry in metrics if entry["kind"] == "probe"]
        return {
            "probe_steps": [entry["step"] for entry in probes],
            "probe_errors": [entry["error"] for entry in probes],
            "training_seconds": sum(entry["seconds"] for entry in metrics if entry["kind"] == "train"),
        }


def rows(orders: Sequence[int]) -> tuple[Method, ...]:
    """FirstOrder, by order the four that have one, Exact; the learned center at order 1 at every size."""
    listed = [FOMAML, *([] if 1 in orders else ordered(1, "Binomial auto"))]
    for order in orders:
        listed += ordered(order, "Truncated", "Binomial plain", "Binomial L/K", "Binomial auto")
    return (*listed, maml(_STEPS))


STUDY = ErrorAccuracy()
