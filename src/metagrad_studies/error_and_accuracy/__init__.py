"""Whether a smaller error of the meta-gradient makes a better learner: every estimator trained and probed."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from matplotlib.figure import Figure

from metagrad.experiments.config import Experiment
from metagrad.training.evaluation import HeldOut
from metagrad_studies.accuracy import methods
from metagrad_studies.accuracy.methods import Method
from metagrad_studies.accuracy.settings import AccuracySettings
from metagrad_studies.accuracy.sizes import SEEDS
from metagrad_studies.accuracy.study import AccuracyStudy
from metagrad_studies.accuracy.tables import runs
from metagrad_studies.core.records import Records
from metagrad_studies.core.study import Finding, Listing, Request
from metagrad_studies.error_and_accuracy import findings as error_accuracy_findings
from metagrad_studies.error_and_accuracy import plots as error_accuracy_figure
from metagrad_studies.error_and_accuracy.records import ErrorAccuracySettings
from metagrad_studies.error_and_accuracy.sizes import OMNIGLOT20, ORDERS, data_sets
from metagrad_studies.instruments.training import tested

_STEPS = 5  # K of every data set here


class ErrorAccuracy(AccuracyStudy):
    """Equal meta-steps, weights and tasks for every estimator; its true error is probed twenty times a run."""

    name: ClassVar[str] = "error-and-accuracy"
    title: ClassVar[str] = "Does a smaller error of the meta-gradient give better accuracy?"
    source: ClassVar[str] = "ours"
    choices: ClassVar[tuple[str, ...]] = (
        "Error: ‖estimate − exact‖ / ‖exact‖ of the first task of a meta-batch, probed twenty times along each run at "
        "the weights that the run has then: every estimator is measured on its own path. Means are geometric, for "
        "errors span orders of magnitude. One task a probe is a noisy look; twenty of them, times the seeds, are not.",
        "Results are those of the weights that were best on validation tasks, after the five inner steps of training.",
        "The share of the gap that a method closes is (method − FirstOrder) / (Exact − FirstOrder). Its verdict comes "
        "from method − FirstOrder − share·(Exact − FirstOrder), paired by seed and task, which has an honest interval "
        "where the ratio has none; without a gap above 0 at 95 % there is no verdict.",
        "Times of a run are its meta-steps' median times their number; records also have the sum, first call included.",
        "α = 0.1 on Omniglot and CIFAR-FS, where curvature matters; the presets' α on the sinusoid and MNIST-1D. "
        "Verdicts on shares are about Omniglot 20-way 1-shot, and about the last data set where that is missing.",
        "Small and medium size: Omniglot and CIFAR-FS with Conv4 of 8 filters and strides in place of max-pooling, "
        "Adam at 1e-2. Small: 200 meta-steps, who learns faster, not where they end. Medium: 2,000 on Omniglot "
        "20-way 1-shot, at the preset's cosine, at a constant rate, and at the cosine with 16 filters; "
        "500 at a constant one there at α = 0.01 and 0.4 and on the other images; 600 test tasks. Full size: the "
        "presets' networks and optimizers, 2,000 meta-steps on images, orders 1 to 4.",
    )

    def settings(self, request: Request) -> ErrorAccuracySettings:
        """Generated tasks at every size; Omniglot and CIFAR-FS where they are."""
        found, missing = data_sets(request, self.name)
        return ErrorAccuracySettings(
            data_sets=found,
            methods=rows(ORDERS[request.scale]),
            seeds=SEEDS,
            spread="95 % interval",
            not_found=missing,
            deciding=next((data.title for data in found if data.key == OMNIGLOT20), found[-1].title),
        )

    def scores(self, result: HeldOut, config: Experiment) -> Mapping[str, Any]:
        """Loss, and accuracy where there is one, of every task."""
        found: dict[str, Any] = {}
        for name in result.values:
            found |= tested(result, name, config.test.steps)
        return found

    def extra(self, metrics: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Errors along training, and its seconds, probes and validations not counted."""
        probes = [entry for entry in metrics if entry["kind"] == "probe"]
        return {
            "probe_steps": [entry["step"] for entry in probes],
            "probe_errors": [entry["error"] for entry in probes],
            "training_seconds": sum(entry["seconds"] for entry in metrics if entry["kind"] == "train"),
        }

    def figure(self, settings: AccuracySettings, records: Records) -> Figure:
        """Results over errors, and errors over meta-steps."""
        return error_accuracy_figure.figure(_own(settings), records)

    def listings(self, settings: AccuracySettings, records: Records) -> Sequence[Listing]:
        """A table a data set; then what the runs did."""
        return [*error_accuracy_figure.listings(_own(settings), records), runs(settings, records)]

    def findings(self, settings: AccuracySettings, records: Records) -> Sequence[Finding]:
        """Shares of the gap, rivals, and error against result."""
        return error_accuracy_findings.findings(_own(settings), records)


def rows(orders: Sequence[int]) -> tuple[Method, ...]:
    """FirstOrder, by order the four that have one, Exact; the learned center at order 1 at every size."""
    listed: list[Method] = [methods.first_order()]
    if 1 not in orders:
        listed.append(methods.binomial_auto(1))
    for order in orders:
        listed += [methods.truncated(order), methods.binomial_plain(order), methods.binomial_published(order)]
        listed.append(methods.binomial_auto(order))
    return (*listed, methods.exact(_STEPS))


def _own(settings: AccuracySettings) -> ErrorAccuracySettings:
    assert isinstance(settings, ErrorAccuracySettings)
    return settings


STUDY = ErrorAccuracy()
