"""What each order is worth: error-and-accuracy with every order that five inner steps have."""

from typing import ClassVar

from metagrad_studies.accuracy.sizes import MNIST1D, OMNIGLOT20, SINUSOID
from metagrad_studies.core import Request
from metagrad_studies.error_and_accuracy import ErrorAccuracy, among, rows
from metagrad_studies.error_and_accuracy.findings import ErrorAccuracySettings

_ORDERS = (1, 2, 3, 4)


class OrderAccuracy(ErrorAccuracy):
    """All estimators at L = 1 … 4 on the sinusoid, Omniglot 20-way 1-shot where it is, and at large sizes MNIST-1D."""

    name: ClassVar[str] = "order-and-accuracy"
    title: ClassVar[str] = "What is each order worth?"
    choices: ClassVar[tuple[str, ...]] = (
        *ErrorAccuracy.choices[:3],
        "Lengths, networks and α are those of error-and-accuracy, with the first of its Omniglot 20-way 1-shot sets. "
        "Small size leaves out MNIST-1D, which has no gap to close. Verdicts on shares are about Omniglot, and about "
        "the sinusoid without it.",
    )

    def settings(self, request: Request) -> ErrorAccuracySettings:
        keys = (SINUSOID, OMNIGLOT20) if request.scale == "small" else (SINUSOID, MNIST1D, OMNIGLOT20)
        available, missing = among(request, keys)
        return ErrorAccuracySettings(
            data_sets=available,
            methods=rows(_ORDERS),
            not_found=missing,
            deciding=next((data.title for data in available if data.key == OMNIGLOT20), available[0].title),
        )


STUDY = OrderAccuracy()
