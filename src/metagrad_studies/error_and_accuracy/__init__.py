"""Whether a smaller error of the meta-gradient makes a better learner: every estimator trained and probed."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from metagrad.experiments.config import Experiment
from metagrad.training import HeldOut
from metagrad_studies.accuracy.methods import FOMAML, Method, maml, ordered
from metagrad_studies.accuracy.sizes import OMNIGLOT20
from metagrad_studies.accuracy.study import AccuracyStudy
from metagrad_studies.core import Request
from metagrad_studies.error_and_accuracy.findings import ErrorAccuracySettings, Judged
from metagrad_studies.error_and_accuracy.plots import Pictured
from metagrad_studies.error_and_accuracy.sizes import ORDERS, data_sets
from metagrad_studies.instruments.training import tested

_STEPS = 5  # K of every data set here


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
        """Generated tasks at every size; Omniglot and CIFAR-FS where they are."""
        available, missing = data_sets(request, self.name)
        return ErrorAccuracySettings(
            data_sets=available,
            methods=rows(ORDERS[request.scale]),
            not_found=missing,
            deciding=next((data.title for data in available if data.key == OMNIGLOT20), available[-1].title),
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
