"""What each order is worth: error-and-accuracy on generated tasks, with every order that five inner steps have."""

from typing import ClassVar

from metagrad.studies.accuracy_sizes import SEEDS
from metagrad.studies.error_accuracy import ErrorAccuracy, rows
from metagrad.studies.error_accuracy_records import ErrorAccuracySettings
from metagrad.studies.error_accuracy_sizes import generated
from metagrad.studies.study import Asked, only_corrected

_ORDERS = (1, 2, 3, 4)


class OrderAccuracy(ErrorAccuracy):
    """All estimators at L = 1 … 4 on tasks that need no files."""

    name: ClassVar[str] = "order-and-accuracy"
    title: ClassVar[str] = "What is each order worth?"
    choices: ClassVar[tuple[str, ...]] = (
        *ErrorAccuracy.choices[:3],
        "Small size: the sinusoid alone, 1,000 meta-steps. Medium and full: and MNIST-1D, at the lengths of "
        "error-and-accuracy. Verdicts on shares are about the sinusoid: MNIST-1D has no gap to close.",
    )

    def settings(self, asked: Asked) -> ErrorAccuracySettings:
        """No data are read."""
        only_corrected(self, asked)
        found = generated(asked.scale)[: 1 if asked.scale == "small" else None]
        return ErrorAccuracySettings(
            data_sets=found,
            methods=rows(_ORDERS),
            seeds=SEEDS,
            spread="95 % interval",
            not_found=(),
            deciding=found[0].title,
        )
