"""The paper's Table 2: the hybrid of expansion and truncation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from metagrad import Binomial, FirstOrder, Hybrid, Split
from metagrad_studies.accuracy.methods import FOMAML, maml, named, ordered, row
from metagrad_studies.accuracy.sizes import data_sets
from metagrad_studies.accuracy.study import AccuracyStudy
from metagrad_studies.accuracy.tables import AS_PUBLISHED, AccuracySettings, compared
from metagrad_studies.core import Finding, Records, Request
from metagrad_studies.core.verdicts import counted, most

_STEPS, _WINDOW, _ORDER = 5, 4, 1  # K, C and L as published

_PLAIN = row("Hybrid plain", _ORDER, Hybrid(window=_WINDOW, order=_ORDER))  # Equation 39 as it is printed

_PUBLISHED = row(
    "Hybrid L/K", _ORDER, Split(_WINDOW, late=Binomial(order=_ORDER, scale=_ORDER / _STEPS), early=FirstOrder())
)
"""The expansion over the last C steps, with α' = α·L/K as in the paper's runs on real data."""


class Table2(AccuracyStudy[AccuracySettings]):
    """Hybrid beside both of its parts, and MAML."""

    name: ClassVar[str] = "table2"
    title: ClassVar[str] = "Few-shot accuracy with the hybrid of Binomial and Truncated"
    source: ClassVar[str] = "BinomGBML (arXiv 2604.13263), Table 2"
    corrected: ClassVar[bool] = True
    choices: ClassVar[tuple[str, ...]] = (
        "K = 5, L = 1, C = 4 as published; all else as in table1, whose choices hold here too.",
        "The paper's code has no hybrid. “Hybrid L/K” takes α' = α·L/K in the expansion, as the paper's other runs on "
        "real data. “Hybrid plain”, “Binomial plain” and MAML beside them are ours.",
    )

    def settings(self, request: Request) -> AccuracySettings:
        available, missing = data_sets(request, self.name)
        published = request.as_published
        ours = [] if published else [*ordered(_ORDER, "Binomial plain"), replace(_PLAIN, ours=True)]
        return AccuracySettings(
            data_sets=available,
            methods=(FOMAML, *ordered(_ORDER, "Truncated", "Binomial L/K"), _PUBLISHED, *ours, maml(_STEPS)),
            not_found=missing,
            **AS_PUBLISHED if published else {},
        )

    def findings(self, settings: AccuracySettings, records: Records) -> Sequence[Finding]:
        pairs = [
            compared(records, data, named(settings.methods, name)[0], _PUBLISHED)
            for name in ("Truncated", "Binomial L/K")
            for data in settings.data_sets
        ]
        return [
            Finding(
                "Overall, the hybrid performs slightly worse than TruncMAML and BinomMAML.",
                f"The two minus the hybrid: {counted(pairs)} ({'; '.join(map(str, pairs))}).",
                most(pairs),
            )
        ]


STUDY = Table2()
