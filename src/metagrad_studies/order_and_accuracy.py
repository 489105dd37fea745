"""What each order is worth: error-and-accuracy with every order that five inner steps have."""

from typing import ClassVar

from metagrad_studies.accuracy.sizes import SEEDS
from metagrad_studies.core.study import Request
from metagrad_studies.error_and_accuracy import ErrorAccuracy, rows
from metagrad_studies.error_and_accuracy.records import ErrorAccuracySettings
from metagrad_studies.error_and_accuracy.sizes import MNIST1D, OMNIGLOT20, SINUSOID, among

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

    def settings(self, request: Request) -> ErrorAccuracySettings:
        """The sinusoid needs no files."""
        keys = (SINUSOID, OMNIGLOT20) if request.scale == "small" else (SINUSOID, MNIST1D, OMNIGLOT20)
        found, missing = among(request, keys)
        return ErrorAccuracySettings(
            data_sets=found,
            methods=rows(_ORDERS),
            seeds=SEEDS,
            spread="95 % interval",
            not_found=missing,
            deciding=next((data.title for data in found if data.key == OMNIGLOT20), found[0].title),
        )


STUDY = OrderAccuracy()
