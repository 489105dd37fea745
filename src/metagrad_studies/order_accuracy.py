"""What each order is worth: error-and-accuracy with every order that five inner steps have."""

from typing import ClassVar

from metagrad_studies.accuracy_sizes import SEEDS
from metagrad_studies.error_accuracy import ErrorAccuracy, rows
from metagrad_studies.error_accuracy_records import ErrorAccuracySettings
from metagrad_studies.error_accuracy_sizes import MNIST1D, OMNIGLOT20, SINUSOID, among
from metagrad_studies.study import Asked, only_corrected

_ORDERS = (1, 2, 3, 4)


class OrderAccuracy(ErrorAccuracy):
    """All estimators at L = 1 … 4 on the sinusoid, Omniglot 20-way 1-shot where it is, and at large sizes MNIST-1D."""

    name: ClassVar[str] = "order-and-accuracy"
    title: ClassVar[str] = "What is each order worth?"
    choices: ClassVar[tuple[str, ...]] = (
        *ErrorAccuracy.choices[:3],
        "Lengths, networks and α are those of error-and-accuracy; of its Omniglot 20-way 1-shot sets the first. "
        "MNIST-1D has no gap to close and is left out at the small size. Verdicts on shares are about Omniglot, and "
        "about the sinusoid without it.",
    )

    def settings(self, asked: Asked) -> ErrorAccuracySettings:
        """The sinusoid needs no files."""
        only_corrected(self, asked)
        keys = (SINUSOID, OMNIGLOT20) if asked.scale == "small" else (SINUSOID, MNIST1D, OMNIGLOT20)
        found, missing = among(asked, keys)
        return ErrorAccuracySettings(
            data_sets=found,
            methods=rows(_ORDERS),
            seeds=SEEDS,
            spread="95 % interval",
            not_found=missing,
            deciding=next((data.title for data in found if data.key == OMNIGLOT20), found[0].title),
        )
